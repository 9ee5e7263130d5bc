/**
 * struct boot_params, the "zero page" of the 64-bit boot protocol (Linux Documentation/arch/x86/zero-page.rst;
 * <asm/bootparam.h>, against which a conformance test checks the offsets).
 */

import { gpa } from '../base/units.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import { SETUP } from './bzimage.js';
import type { E820Entry } from './e820.js';
import { CMDLINE, type Range, RSDP, ZERO_PAGE } from './layout.js';

/** Fields outside the setup header. */
export const BOOT_PARAMS = {
  ACPI_RSDP_ADDR: 0x070, // u64
  EXT_RAMDISK_IMAGE: 0x0c0, // u32, upper half
  EXT_RAMDISK_SIZE: 0x0c4, // u32, upper half
  EXT_CMD_LINE_PTR: 0x0c8, // u32, upper half
  E820_ENTRIES: 0x1e8, // u8
  E820_TABLE: 0x2d0,
} as const;
/** struct boot_e820_entry, packed. */
export const E820_ENTRY = {
  ADDR: 0, // u64
  SIZE: 8, // u64
  TYPE: 16, // u32
  BYTES: 20,
} as const;
/** E820_MAX_ENTRIES_ZEROPAGE */
export const E820_MAX_ENTRIES = 128;

const LOADER_UNDEFINED = 0xff;
const KERNEL_ALIGNMENT = 16 * 2 ** 20;

export interface ZeroPageInput {
  /** A bzImage's own header; a made-up one for a vmlinux, which has none. */
  readonly setupHeader: Uint8Array | undefined;
  readonly e820: readonly E820Entry[];
  readonly initrd: Range | undefined;
}

export function writeZeroPage(memory: GuestMemory, { setupHeader, e820, initrd }: ZeroPageInput): void {
  const u8 = (offset: number, value: number): void => memory.writeU8(gpa(ZERO_PAGE + offset), value);
  const u16 = (offset: number, value: number): void => memory.writeU16(gpa(ZERO_PAGE + offset), value);
  const u32 = (offset: number, value: number): void => memory.writeU32(gpa(ZERO_PAGE + offset), value);

  if (setupHeader) memory.write(gpa(ZERO_PAGE + SETUP.HEADER), setupHeader);
  else {
    u16(SETUP.BOOT_FLAG, 0xaa55);
    u32(SETUP.MAGIC, 0x5372_6448); // "HdrS"
    u32(SETUP.KERNEL_ALIGNMENT, KERNEL_ALIGNMENT);
  }
  memory.writeU64(gpa(ZERO_PAGE + BOOT_PARAMS.ACPI_RSDP_ADDR), BigInt(RSDP));
  u8(SETUP.TYPE_OF_LOADER, LOADER_UNDEFINED);
  u32(SETUP.CMD_LINE_PTR, CMDLINE);
  if (initrd) {
    u32(SETUP.RAMDISK_IMAGE, initrd.base % 2 ** 32);
    u32(BOOT_PARAMS.EXT_RAMDISK_IMAGE, Math.floor(initrd.base / 2 ** 32));
    u32(SETUP.RAMDISK_SIZE, initrd.size % 2 ** 32);
    u32(BOOT_PARAMS.EXT_RAMDISK_SIZE, Math.floor(initrd.size / 2 ** 32));
  }
  u8(BOOT_PARAMS.E820_ENTRIES, e820.length);
  for (const [index, { base, size, type }] of e820.entries()) {
    const at = ZERO_PAGE + BOOT_PARAMS.E820_TABLE + index * E820_ENTRY.BYTES;
    memory.writeU64(gpa(at + E820_ENTRY.ADDR), BigInt(base));
    memory.writeU64(gpa(at + E820_ENTRY.SIZE), BigInt(size));
    memory.writeU32(gpa(at + E820_ENTRY.TYPE), type);
  }
}
