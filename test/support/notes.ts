/** ELF notes, and ELF images that carry them. */
import { PHDR, PT } from '../../src/boot/elf.js';
import { type ElfOptions, elfImage } from './images.js';

export interface Note {
  readonly owner: string;
  readonly type: number;
  /** The descriptor, 32-bit words. */
  readonly words: readonly number[];
}

/** As the kernel's linker script lays them out: name and descriptor padded to four bytes. */
export function encodeNotes(notes: readonly Note[]): Uint8Array {
  const parts = notes.map(({ owner, type, words }) => {
    const nameSize = owner.length + 1;
    const padded = Math.ceil(nameSize / 4) * 4;
    const bytes = new Uint8Array(12 + padded + 4 * words.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, nameSize, true);
    view.setUint32(4, 4 * words.length, true);
    view.setUint32(8, type, true);
    bytes.set(Buffer.from(owner, 'latin1'), 12);
    for (const [index, word] of words.entries()) view.setUint32(12 + padded + 4 * index, word, true);
    return bytes;
  });
  return new Uint8Array(Buffer.concat(parts));
}

/** An ELF image with one more program header, for notes at the file's end. */
export function elfWithNotes(options: ElfOptions, notes: readonly Note[]): Uint8Array {
  const bytes = encodeNotes(notes);
  const segments = [...(options.segments ?? []), { address: 0, fileSize: bytes.length }];
  const image = elfImage({ ...options, segments });
  image.set(bytes, image.length - bytes.length);
  const header = 64 + (segments.length - 1) * PHDR.SIZE;
  new DataView(image.buffer).setUint32(header + PHDR.TYPE, PT.NOTE, true);
  return image;
}
