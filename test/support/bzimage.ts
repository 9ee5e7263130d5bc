/** Small bzImages: the fields of the setup header that a boot loader reads, and HLTs for a kernel. */

import { MiB } from '../../src/base/units.js';
import { LOADED_HIGH, SETUP, XLF_KERNEL_64 } from '../../src/boot/bzimage.js';

export interface BzImageOptions {
  readonly version?: number;
  /** Real-mode sectors behind the first, as the header says it. */
  readonly setupSects?: number;
  /** Bytes of protected-mode code. */
  readonly size?: number;
  readonly preferred?: bigint;
  readonly alignment?: number;
  readonly relocatable?: boolean;
  readonly initSize?: number;
  readonly initrdMax?: number;
  readonly cmdlineSize?: number;
  readonly loadflags?: number;
  readonly xloadflags?: number;
}

export function bzImage({
  version = 0x20f,
  setupSects = 4,
  size = 0x4000,
  preferred = BigInt(16 * MiB),
  alignment = 2 * MiB,
  relocatable = true,
  initSize = 4 * MiB,
  initrdMax = 0x7fff_ffff,
  cmdlineSize = 2047,
  loadflags = LOADED_HIGH,
  xloadflags = XLF_KERNEL_64,
}: BzImageOptions = {}): Uint8Array {
  const code = ((setupSects || 4) + 1) * 512;
  const bytes = new Uint8Array(code + size).fill(0xf4, code);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0x5a4d, true); // "MZ": an EFI stub
  view.setUint8(SETUP.SETUP_SECTS, setupSects);
  view.setUint32(SETUP.SYSSIZE, Math.ceil(size / 16), true);
  view.setUint16(SETUP.BOOT_FLAG, 0xaa55, true);
  view.setUint16(SETUP.JUMP, 0x6aeb, true); // jmp 0x26c: the header ends there
  view.setUint32(SETUP.MAGIC, 0x5372_6448, true);
  view.setUint16(SETUP.VERSION, version, true);
  view.setUint8(SETUP.LOADFLAGS, loadflags);
  view.setUint32(SETUP.INITRD_ADDR_MAX, initrdMax, true);
  view.setUint32(SETUP.KERNEL_ALIGNMENT, alignment, true);
  view.setUint8(SETUP.RELOCATABLE, relocatable ? 1 : 0);
  view.setUint16(SETUP.XLOADFLAGS, xloadflags, true);
  view.setUint32(SETUP.CMDLINE_SIZE, cmdlineSize, true);
  view.setUint32(SETUP.PAYLOAD_OFFSET, 0x1000, true);
  view.setUint32(SETUP.PAYLOAD_LENGTH, 0x2000, true);
  view.setBigUint64(SETUP.PREF_ADDRESS, preferred, true);
  view.setUint32(SETUP.INIT_SIZE, initSize, true);
  return bytes;
}
