/**
 * What kind of kernel image a file is, told by its first bytes. Whatever is not a kernel for this machine is refused
 * by name, because "invalid image" helps nobody.
 */
import { KernelError } from '../base/errors.js';
import { type ImageReader, viewOf } from './reader.js';

export type ImageKind = 'elf' | 'bzImage';

/** Smallest file worth looking at: an ELF64 header. */
const SMALLEST = 64;
/** Through the setup header's fixed part (Linux Documentation/arch/x86/boot.rst). */
const HEAD = 0x268;
const BOOT_FLAG = 0x1fe;
const HEADER_MAGIC = 0x202;

const EXPECTED = 'give an x86-64 vmlinux (ELF) or a bzImage';

/** Files people hand over by mistake: leading bytes → what it is and what to do. */
const OTHERS: readonly { readonly magic: readonly number[]; readonly what: string; readonly hint: string }[] =
  [
    { magic: [0x1f, 0x8b], what: 'a gzip file', hint: 'unpack it first: gunzip FILE' },
    { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a], what: 'an xz file', hint: 'unpack it first: unxz FILE' },
    { magic: [0x28, 0xb5, 0x2f, 0xfd], what: 'a zstd file', hint: 'unpack it first: unzstd FILE' },
    { magic: [0x30, 0x37, 0x30, 0x37, 0x30, 0x31], what: 'a cpio archive', hint: 'pass it with --initrd' },
    { magic: [0x23, 0x21], what: 'a script', hint: EXPECTED },
    { magic: [0x51, 0x46, 0x49, 0xfb], what: 'a qcow2 disk image', hint: EXPECTED },
    {
      magic: [0x21, 0x3c, 0x61, 0x72, 0x63, 0x68, 0x3e],
      what: 'a Debian package',
      hint: 'unpack it: dpkg-deb -x FILE FOLDER',
    },
  ];

/** Kernels of other machines: at `at`, `text` (Linux Documentation/arch/arm64/booting.rst, riscv/boot-image-header.rst, efi zboot). */
const FOREIGN: readonly { readonly at: number; readonly text: string; readonly machine: string }[] = [
  { at: 0x38, text: 'ARM\x64', machine: 'ARM64' },
  { at: 0x38, text: 'RSC\x05', machine: 'RISC-V' },
  {
    at: 4,
    text: 'zimg',
    machine: 'another machine (it is packed as ARM64, RISC-V and LoongArch kernels are)',
  },
  { at: 0, text: '\x27\x05\x19\x56', machine: 'U-Boot' },
];

/** @throws KernelError naming what the file is instead */
export function identifyKernel(image: ImageReader): ImageKind {
  if (image.size === 0) throw new KernelError('the kernel is empty', { hint: EXPECTED });
  if (image.size < SMALLEST)
    throw new KernelError(`the kernel is only ${image.size} bytes long`, { hint: EXPECTED });
  const head = image.read(0, HEAD);
  const view = viewOf(head);
  if (view.getUint32(0) === 0x7f45_4c46) return 'elf';
  for (const { magic, what, hint } of OTHERS) {
    if (magic.every((byte, index) => head[index] === byte))
      throw new KernelError(`the kernel is ${what}`, { hint });
  }
  for (const { at, text, machine } of FOREIGN) {
    if ([...text].every((char, index) => head[at + index] === char.charCodeAt(0)))
      throw new KernelError(`the kernel is for ${machine}, not x86-64`, { hint: EXPECTED });
  }
  if (head.length > HEADER_MAGIC + 4 && view.getUint16(BOOT_FLAG, true) === 0xaa55) {
    if (view.getUint32(HEADER_MAGIC) === 0x4864_7253) return 'bzImage'; // "HdrS"
    throw new KernelError('the kernel is a boot sector without a Linux header', { hint: EXPECTED });
  }
  if (view.getUint16(0) === 0x4d5a) {
    throw new KernelError('the kernel is an EFI or Windows program without a Linux header', {
      hint: EXPECTED,
    });
  }
  throw new KernelError('the kernel is neither an ELF file nor a bzImage', { hint: EXPECTED });
}
