/**
 * ELF notes of a kernel: the PVH entry point (Xen's elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY) and this project's own note
 * that tells which hosts the kernel copes with. Damaged notes are as good as none.
 */
import { type Gpa, gpa } from '../base/units.js';
import { type ImageReader, viewOf } from './reader.js';

export interface KernelNotes {
  /** Where a PVH boot starts, in 32-bit protected mode. */
  readonly pvhEntry: Gpa | undefined;
  /** Bits of the note "Typevisor" 1; 0 for a kernel without it. */
  readonly hostFeatures: number;
}

/** Bits of our note's descriptor (guest-kernels/lean/README.md). */
export const HOST_FEATURE = {
  /** Copes with SYSCALL arriving as a page fault. */
  SYSCALL_BY_FAULT: 1 << 0,
  /** Keeps to instructions that KVM's emulator knows in kernel mode. */
  EMULATED_KERNEL_MODE: 1 << 1,
} as const;

const XEN_ELFNOTE_PHYS32_ENTRY = 18;
const TYPEVISOR_HOST_FEATURES = 1;
/** A kernel's notes are a few hundred bytes. */
const MAX_NOTES = 64 * 1024;

export function parseNotes(
  image: ImageReader,
  segments: readonly { readonly offset: bigint; readonly fileSize: bigint }[],
): KernelNotes {
  let pvhEntry: Gpa | undefined;
  let hostFeatures = 0;
  for (const { offset, fileSize } of segments) {
    if (offset + fileSize > BigInt(image.size) || fileSize > BigInt(MAX_NOTES)) continue;
    for (const { owner, type, descriptor } of notesIn(image.read(Number(offset), Number(fileSize)))) {
      if (descriptor.length < 4) continue;
      const value = viewOf(descriptor).getUint32(0, true);
      if (owner === 'Xen' && type === XEN_ELFNOTE_PHYS32_ENTRY) pvhEntry = gpa(value);
      if (owner === 'Typevisor' && type === TYPEVISOR_HOST_FEATURES) hostFeatures |= value;
    }
  }
  return { pvhEntry, hostFeatures };
}

/** Name and descriptor are each padded to 4 bytes; the name's size counts its NUL. */
function* notesIn(bytes: Uint8Array): Generator<{ owner: string; type: number; descriptor: Uint8Array }> {
  const view = viewOf(bytes);
  const pad = (size: number): number => Math.ceil(size / 4) * 4;
  for (let at = 0; at + 12 <= bytes.length; ) {
    const nameSize = view.getUint32(at, true);
    const descriptorSize = view.getUint32(at + 4, true);
    const name = at + 12;
    const descriptor = name + pad(nameSize);
    const next = descriptor + pad(descriptorSize);
    if (descriptor + descriptorSize > bytes.length) return;
    const owner = String.fromCharCode(
      ...bytes.subarray(name, name + Math.max(0, Math.min(nameSize, 64) - 1)),
    );
    yield {
      owner,
      type: view.getUint32(at + 8, true),
      descriptor: bytes.subarray(descriptor, descriptor + descriptorSize),
    };
    at = next;
  }
}
