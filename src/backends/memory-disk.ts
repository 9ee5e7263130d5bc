/**
 * A disk in memory: sparse and empty at first, or over bytes that the caller has. Every call is done when it returns.
 * Runs on: main.
 */

import { lengthOf, type Pieces } from '../base/pieces.js';
import { KiB, PAGE_SIZE } from '../base/units.js';
import type { BlockBackend } from '../devices/blk/backend.js';
import { checkRange } from './pieces.js';

const SECTOR = 512;
const CHUNK = 64 * KiB;

/** What a disk in memory may not do. */
export interface MemoryDiskOptions {
  /** The guest must not write. */
  readonly readOnly?: boolean;
}

/** A disk in memory, sparse, or over bytes that the caller has. */
export class MemoryDisk implements BlockBackend {
  readonly size: number;
  readonly readOnly: boolean;
  readonly blockSize = PAGE_SIZE;
  /** Bytes of one entry of `#chunks`. */
  readonly #unit: number;
  /** Missing ones are zeroes. */
  readonly #chunks: Map<number, Uint8Array>;
  readonly #sparse: boolean;

  /**
   * @param content a size in bytes for an empty disk, or its bytes: not a copy, the guest writes into them. What is
   *   over a multiple of 512 is left out.
   * @throws RangeError when that leaves nothing
   */
  constructor(content: number | Uint8Array, { readOnly = false }: MemoryDiskOptions = {}) {
    const bytes = typeof content === 'number' ? content : content.length;
    this.size = bytes - (bytes % SECTOR);
    if (!Number.isSafeInteger(bytes) || this.size <= 0)
      throw new RangeError(`a disk cannot have ${bytes} bytes`);
    this.readOnly = readOnly;
    this.#sparse = typeof content === 'number';
    this.#unit = this.#sparse ? CHUNK : this.size;
    this.#chunks = new Map(typeof content === 'number' ? [] : [[0, content]]);
  }

  /** Bytes of memory taken. */
  get allocated(): number {
    return this.#chunks.size * this.#unit;
  }

  read(offset: number, into: Uint8Array): void {
    checkRange(this.size, offset, into.length);
    this.#walk(offset, into.length, (index, at, length, done) => {
      const chunk = this.#chunks.get(index);
      if (chunk) into.set(chunk.subarray(at, at + length), done);
      else into.fill(0, done, done + length);
    });
  }

  write(offset: number, from: Uint8Array): void {
    checkRange(this.size, offset, from.length);
    this.#walk(offset, from.length, (index, at, length, done) => {
      let chunk = this.#chunks.get(index);
      if (!chunk) this.#chunks.set(index, (chunk = new Uint8Array(CHUNK)));
      chunk.set(from.subarray(done, done + length), at);
    });
  }

  readv(offset: number, into: Pieces): void {
    checkRange(this.size, offset, lengthOf(into));
    let at = offset;
    for (const piece of into) {
      this.read(at, piece);
      at += piece.length;
    }
  }

  writev(offset: number, from: Pieces): void {
    checkRange(this.size, offset, lengthOf(from));
    let at = offset;
    for (const piece of from) {
      this.write(at, piece);
      at += piece.length;
    }
  }

  /** As durable as it gets. */
  flush(): void {}

  discard(offset: number, length: number): void {
    this.writeZeroes(offset, length, true);
  }

  writeZeroes(offset: number, length: number, mayUnmap: boolean): void {
    checkRange(this.size, offset, length);
    // Whole chunks inside the range, if it may lose any.
    const first = Math.ceil(offset / CHUNK);
    const last = mayUnmap && this.#sparse ? Math.floor((offset + length) / CHUNK) : first;
    if (first >= last) {
      this.#zero(offset, length);
      return;
    }
    this.#zero(offset, first * CHUNK - offset);
    this.#zero(last * CHUNK, offset + length - last * CHUNK);
    // A large range has many chunks, and few that exist.
    if (last - first < this.#chunks.size) {
      for (let index = first; index < last; index += 1) this.#chunks.delete(index);
    } else {
      for (const index of this.#chunks.keys()) if (index >= first && index < last) this.#chunks.delete(index);
    }
  }

  #zero(offset: number, length: number): void {
    this.#walk(offset, length, (index, at, count) => this.#chunks.get(index)?.fill(0, at, at + count));
  }

  /** Calls `visit` with each chunk's part of a range, and how much came before it. */
  #walk(
    offset: number,
    length: number,
    visit: (index: number, at: number, length: number, done: number) => void,
  ): void {
    for (let done = 0; done < length; ) {
      const index = Math.floor((offset + done) / this.#unit);
      const at = offset + done - index * this.#unit;
      const count = Math.min(this.#unit - at, length - done);
      visit(index, at, count, done);
      done += count;
    }
  }
}
