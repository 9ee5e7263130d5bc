/**
 * Image files on the host, through AsyncFile: locked (a writer alone, or readers together), io_uring where the host has it.
 * Runs on: the thread that opened it.
 */
import { promises } from 'node:fs';
import { HostError } from '../../base/errors.js';
import { lengthOf, slicePieces } from '../../base/pieces.js';
import { AsyncFile } from '../../host/async-file.js';
import type { ImageFile, ImageFiles } from './image-file.js';

export const hostImageFiles = ({ direct }: { readonly direct: boolean }): ImageFiles => ({
  async identify(path) {
    try {
      const { dev, ino, rdev } = await promises.stat(path);
      return rdev === 0 ? `file ${dev}:${ino}` : `device ${rdev}`;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const problem = code === 'ENOENT' ? 'no such file' : code;
      throw new HostError(`${path}: ${problem}`, 'stat', undefined, code, { code: 'ERR_FILE', cause: error });
    }
  },
  open: async (path, { readOnly }) => new HostImageFile(await AsyncFile.open(path, { readOnly, direct })),
});

class HostImageFile implements ImageFile {
  /** AsyncFile knows its size as of opening; writes behind the end are counted here. */
  #size: number;

  constructor(private readonly file: AsyncFile) {
    this.#size = file.size;
  }

  get size(): number {
    return this.#size;
  }

  readv(offset: number, into: readonly Uint8Array[]): Promise<void> {
    const length = lengthOf(into);
    const there = Math.max(0, Math.min(length, this.#size - offset));
    if (there === length) return this.file.readv(offset, into);
    for (const piece of slicePieces(into, there, length - there)) piece.fill(0);
    return there === 0 ? Promise.resolve() : this.file.readv(offset, slicePieces(into, 0, there));
  }

  async writev(offset: number, from: readonly Uint8Array[]): Promise<void> {
    await this.file.writev(offset, from);
    this.#size = Math.max(this.#size, offset + lengthOf(from));
  }

  sync(): Promise<void> {
    return this.file.sync();
  }

  punch(offset: number, length: number): Promise<void> {
    return this.file.punch(offset, length);
  }

  close(): Promise<void> {
    return this.file.close();
  }
}
