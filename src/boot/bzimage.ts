/**
 * bzImage: a real-mode part with the setup header, and the compressed kernel with its own decompressor
 * (Linux Documentation/arch/x86/boot.rst). This monitor enters at the decompressor's 64-bit entry point.
 */
import { KernelError } from '../base/errors.js';
import { alignUp, formatSize, type Gpa, gpa, hex } from '../base/units.js';
import type { Load } from './elf.js';
import type { Range } from './layout.js';
import { type ImageReader, viewOf } from './reader.js';

/** Offsets in the file, and in the zero page, where the header is copied (boot.rst "The Real-Mode Kernel Header"). */
export const SETUP = {
  HEADER: 0x1f1, // first byte of the header
  SETUP_SECTS: 0x1f1, // u8, real-mode sectors after the first; 0 means 4
  SYSSIZE: 0x1f4, // u32, protected-mode code in 16-byte units
  BOOT_FLAG: 0x1fe, // u16
  JUMP: 0x200, // its second byte tells where the header ends
  MAGIC: 0x202, // "HdrS"
  VERSION: 0x206, // u16
  KERNEL_VERSION: 0x20e, // u16, offset of a text from 0x200; 0 is none
  TYPE_OF_LOADER: 0x210, // u8
  LOADFLAGS: 0x211, // u8
  RAMDISK_IMAGE: 0x218, // u32
  RAMDISK_SIZE: 0x21c, // u32
  HEAP_END_PTR: 0x224, // u16
  CMD_LINE_PTR: 0x228, // u32
  INITRD_ADDR_MAX: 0x22c, // u32, 2.03+
  KERNEL_ALIGNMENT: 0x230, // u32, 2.05+
  RELOCATABLE: 0x234, // u8, 2.05+
  XLOADFLAGS: 0x236, // u16, 2.12+
  CMDLINE_SIZE: 0x238, // u32, without the NUL, 2.06+
  PAYLOAD_OFFSET: 0x248, // u32, from the start of protected-mode code, 2.08+
  PAYLOAD_LENGTH: 0x24c, // u32, 2.08+
  PREF_ADDRESS: 0x258, // u64, 2.10+
  INIT_SIZE: 0x260, // u32, 2.10+
} as const;

/** XLOADFLAGS: a 64-bit entry point exists at 0x200 of the protected-mode code. */
export const XLF_KERNEL_64 = 1 << 0;
/** LOADFLAGS: a bzImage. */
export const LOADED_HIGH = 1 << 0;
const PROTOCOL_2_12 = 0x20c; // Linux 3.8, the first with the 64-bit entry
const ENTRY_64 = 0x200;
const SECTOR = 512;
/** The header grows; it ends before the boot parameters' next field at 0x290. */
const LARGEST_HEADER_END = 0x290;

export interface BzImagePlan {
  readonly entry: Gpa;
  readonly loads: readonly Load[];
  /** First address behind what the kernel needs while it decompresses itself. */
  readonly end: Gpa;
  /** The setup header, to be copied to offset 0x1f1 of the zero page. */
  readonly setupHeader: Uint8Array;
  /** Highest address the initrd may reach, inclusive. */
  readonly initrdMax: number;
  /** Longest command line, bytes without the NUL. */
  readonly cmdlineSize: number;
  /** The compressed kernel inside the file. */
  readonly payload: { readonly offset: number; readonly length: number };
}

/** @throws KernelError */
export function planBzImage(image: ImageReader, ranges: readonly Range[]): BzImagePlan {
  const head = image.read(0, LARGEST_HEADER_END);
  if (head.length < LARGEST_HEADER_END) throw new KernelError('truncated bzImage: its header is missing');
  const view = viewOf(head);
  const version = view.getUint16(SETUP.VERSION, true);
  if (version < PROTOCOL_2_12) {
    throw new KernelError(
      `bzImage of boot protocol ${version >> 8}.${String(version & 0xff).padStart(2, '0')}`,
      {
        hint: 'protocol 2.12 (Linux 3.8) or newer is needed',
      },
    );
  }
  if (!(view.getUint8(SETUP.LOADFLAGS) & LOADED_HIGH)) throw new KernelError('a zImage, not a bzImage');
  if (!(view.getUint16(SETUP.XLOADFLAGS, true) & XLF_KERNEL_64)) {
    throw new KernelError('a bzImage without a 64-bit entry point', {
      hint: 'is it a 32-bit kernel? build with CONFIG_64BIT=y',
    });
  }

  const offset = ((view.getUint8(SETUP.SETUP_SECTS) || 4) + 1) * SECTOR;
  const length = view.getUint32(SETUP.SYSSIZE, true) * 16;
  // syssize rounds up to 16; the file may end up to 15 bytes before.
  if (length === 0 || offset + length - 15 > image.size) {
    throw new KernelError(`truncated bzImage: ${image.size} bytes of ${offset + length}`, {
      hint: 'was the file copied completely?',
    });
  }
  const fileSize = Math.min(length, image.size - offset);
  const initSize = view.getUint32(SETUP.INIT_SIZE, true);
  const at = placeKernel(view, Math.max(initSize, length), ranges);
  return {
    entry: gpa(at + ENTRY_64),
    loads: [{ at, offset, fileSize, memorySize: length }],
    end: gpa(at + Math.max(initSize, length)),
    setupHeader: head.slice(SETUP.HEADER, headerEnd(view)),
    initrdMax: view.getUint32(SETUP.INITRD_ADDR_MAX, true),
    cmdlineSize: view.getUint32(SETUP.CMDLINE_SIZE, true),
    payload: {
      offset: offset + view.getUint32(SETUP.PAYLOAD_OFFSET, true),
      length: view.getUint32(SETUP.PAYLOAD_LENGTH, true),
    },
  };
}

/** "0x0202 + byte value at offset 0x0201" (boot.rst), within what the zero page has room for. */
function headerEnd(view: DataView): number {
  return Math.min(SETUP.MAGIC + view.getUint8(SETUP.JUMP + 1), LARGEST_HEADER_END);
}

/** The preferred address if it is free, otherwise the lowest aligned one for a relocatable kernel. */
function placeKernel(view: DataView, needed: number, ranges: readonly Range[]): Gpa {
  const preferred = view.getBigUint64(SETUP.PREF_ADDRESS, true);
  const alignment = view.getUint32(SETUP.KERNEL_ALIGNMENT, true);
  const fits = (at: number): boolean =>
    ranges.some(({ base, size }) => at >= base && at + needed <= base + size);
  if (preferred < 2n ** 32n && fits(Number(preferred))) return gpa(Number(preferred));
  const powerOfTwo = alignment > 0 && (alignment & (alignment - 1)) === 0;
  if (view.getUint8(SETUP.RELOCATABLE) !== 0 && powerOfTwo) {
    for (const { base } of ranges) {
      const at = alignUp(base, alignment);
      if (fits(at)) return gpa(at);
    }
  }
  throw new KernelError(
    `the kernel needs ${formatSize(needed)} at ${hex(preferred)}, which the guest's memory does not have`,
    {
      hint: 'give the guest more memory',
    },
  );
}
