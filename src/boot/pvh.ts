/**
 * The PVH boot protocol (Xen's docs/misc/pvh and public/arch-x86/hvm/start_info.h): a kernel starts in 32-bit protected
 * mode with the address of struct hvm_start_info in EBX.
 */
import { gpa } from '../base/units.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { E820Entry } from './e820.js';
import { CMDLINE, PVH_MEMORY_MAP, PVH_MODULES, PVH_START_INFO, type Range, RSDP } from './layout.js';

const MAGIC = 0x336e_c578; // "xEn3" with its top bit set
const VERSION = 1;

/** Offsets in struct hvm_start_info of version 1, and its size. */
export const START_INFO = {
  MAGIC: 0, // u32
  VERSION: 4, // u32
  FLAGS: 8, // u32
  NR_MODULES: 12, // u32
  MODLIST_PADDR: 16, // u64
  CMDLINE_PADDR: 24, // u64
  RSDP_PADDR: 32, // u64
  MEMMAP_PADDR: 40, // u64
  MEMMAP_ENTRIES: 48, // u32
  BYTES: 56,
} as const;
/** Offsets in struct hvm_modlist_entry, and its size. */
export const MODLIST_ENTRY = {
  PADDR: 0, // u64
  SIZE: 8, // u64
  BYTES: 32,
} as const;
/** Offsets in struct hvm_memmap_table_entry, and its size; types are e820's. */
export const MEMMAP_ENTRY = {
  ADDR: 0, // u64
  SIZE: 8, // u64
  TYPE: 16, // u32
  BYTES: 24,
} as const;

export function writeStartInfo(
  memory: GuestMemory,
  { e820, initrd }: { readonly e820: readonly E820Entry[]; readonly initrd: Range | undefined },
): void {
  const at = (offset: number) => gpa(PVH_START_INFO + offset);
  memory.writeU32(at(START_INFO.MAGIC), MAGIC);
  memory.writeU32(at(START_INFO.VERSION), VERSION);
  memory.writeU32(at(START_INFO.FLAGS), 0);
  memory.writeU32(at(START_INFO.NR_MODULES), initrd ? 1 : 0);
  memory.writeU64(at(START_INFO.MODLIST_PADDR), initrd ? BigInt(PVH_MODULES) : 0n);
  memory.writeU64(at(START_INFO.CMDLINE_PADDR), BigInt(CMDLINE));
  memory.writeU64(at(START_INFO.RSDP_PADDR), BigInt(RSDP));
  memory.writeU64(at(START_INFO.MEMMAP_PADDR), BigInt(PVH_MEMORY_MAP));
  memory.writeU32(at(START_INFO.MEMMAP_ENTRIES), e820.length);
  if (initrd) {
    memory.writeU64(gpa(PVH_MODULES + MODLIST_ENTRY.PADDR), BigInt(initrd.base));
    memory.writeU64(gpa(PVH_MODULES + MODLIST_ENTRY.SIZE), BigInt(initrd.size));
  }
  for (const [index, { base, size, type }] of e820.entries()) {
    const entry = PVH_MEMORY_MAP + index * MEMMAP_ENTRY.BYTES;
    memory.writeU64(gpa(entry + MEMMAP_ENTRY.ADDR), BigInt(base));
    memory.writeU64(gpa(entry + MEMMAP_ENTRY.SIZE), BigInt(size));
    memory.writeU32(gpa(entry + MEMMAP_ENTRY.TYPE), type);
  }
}
