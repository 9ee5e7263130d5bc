/**
 * Which Linux an image is, told by the image itself: a bzImage's header points to its version (Linux
 * Documentation/arch/x86/boot.rst, kernel_version), a vmlinux has its banner where its read-only data begins. Damage is as good as
 * no answer.
 */
import { SETUP } from './bzimage.js';
import { EHDR } from './elf.js';
import type { ImageKind } from './image.js';
import { type ImageReader, viewOf } from './reader.js';

export interface KernelVersion {
  readonly major: number;
  readonly minor: number;
}

/** SETUP.KERNEL_VERSION counts from here. */
const VERSION_BASE = 0x200;
const LONGEST_VERSION = 128;

/** Offsets in Elf64_Shdr, and its size. */
export const SHDR = {
  NAME: 0, // u32, offset in the names
  OFFSET: 24, // u64
  SIZE: 32, // u64
  BYTES: 64,
} as const;
/** Kernels have some fifty, with names of a few bytes each. */
const MAX_SECTIONS = 1024;
const MAX_NAMES = 64 * 1024;
/** linux_banner is of the first object that is linked: 0x100 and 0x1a0 bytes were seen in front of it. */
const BANNER_WITHIN = 4096;

/** @returns undefined for what does not say, or is no Linux */
export function kernelVersion(image: ImageReader, kind: ImageKind): KernelVersion | undefined {
  const text = kind === 'bzImage' ? headerVersion(image) : /Linux version (\S+)/.exec(banner(image))?.[1];
  const match = /^(\d{1,3})\.(\d{1,3})\b/.exec(text ?? '');
  return match ? { major: Number(match[1]), minor: Number(match[2]) } : undefined;
}

/** @returns whether a kernel is of a version or a newer one; one that does not say is not */
export const isSince = (version: KernelVersion | undefined, { major, minor }: KernelVersion): boolean =>
  version !== undefined && (version.major > major || (version.major === major && version.minor >= minor));

function headerVersion(image: ImageReader): string {
  const field = image.read(SETUP.KERNEL_VERSION, 2);
  const at = field.length === 2 ? viewOf(field).getUint16(0, true) : 0;
  return at === 0 ? '' : latin1(readAt(image, BigInt(VERSION_BASE + at), LONGEST_VERSION));
}

/** The beginning of .rodata, as text. */
function banner(image: ImageReader): string {
  const header = image.read(0, EHDR.SIZE);
  if (header.length < EHDR.SIZE) return '';
  const view = viewOf(header);
  const count = view.getUint16(EHDR.SHNUM, true);
  if (view.getUint16(EHDR.SHENTSIZE, true) !== SHDR.BYTES || count > MAX_SECTIONS) return '';
  const table = readAt(image, view.getBigUint64(EHDR.SHOFF, true), count * SHDR.BYTES);
  const sections = Array.from({ length: Math.floor(table.length / SHDR.BYTES) }, (_, index) => {
    const entry = viewOf(table.subarray(index * SHDR.BYTES, (index + 1) * SHDR.BYTES));
    return {
      name: entry.getUint32(SHDR.NAME, true),
      offset: entry.getBigUint64(SHDR.OFFSET, true),
      size: Number(entry.getBigUint64(SHDR.SIZE, true)),
    };
  });
  const strings = sections[view.getUint16(EHDR.SHSTRNDX, true)];
  if (!strings) return '';
  const names = latin1(readAt(image, strings.offset, Math.min(strings.size, MAX_NAMES)));
  const data = sections.find(({ name }) => names.startsWith('.rodata\0', name));
  return data ? latin1(readAt(image, data.offset, Math.min(data.size, BANNER_WITHIN))) : '';
}

/** The file's own 64-bit offsets may be anything. */
const readAt = (image: ImageReader, offset: bigint, length: number): Uint8Array =>
  offset < BigInt(image.size) ? image.read(Number(offset), length) : new Uint8Array(0);

const latin1 = (bytes: Uint8Array): string =>
  bytes.reduce((text, byte) => text + String.fromCharCode(byte), '');
