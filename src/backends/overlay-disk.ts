/**
 * A disk that leaves its base alone: what the guest writes goes to a top, block by block, and one call brings the base
 * back. The top is any disk of the same size, best one that is sparse: memory by default, or a file.
 *
 * A map with one bit a block says where a block is. A write that covers a block in part completes it from the base
 * first, and holds a lock on the blocks until it is done: without that, two writes to one block would each complete
 * it from the base and one of them would be lost.
 * Runs on: main.
 */

import { lengthOf, type Pieces, slicePieces } from '../base/pieces.js';
import { RangeLock } from '../base/range-lock.js';
import { alignDown, alignUp, PAGE_SIZE } from '../base/units.js';
import type { BlockBackend } from '../devices/blk/backend.js';
import { readPieces, writePieces } from '../devices/blk/transfer.js';
import { MemoryDisk } from './memory-disk.js';
import { checkRange, type Done, inOrder } from './pieces.js';
import { writeZeroesBy } from './zeroes.js';

/** Where an overlay keeps what is written. */
export interface OverlayOptions {
  /** Takes what is written; at least as large as the base, its content is ignored. Memory by default. */
  readonly top?: BlockBackend;
  /** Bytes of a block: a power of two, 512 to 2^20. */
  readonly blockSize?: number;
  /** From `map()` of an overlay on the same base and block size whose top this is. */
  readonly map?: Uint8Array;
}

/** A disk that takes writes beside its base, which it owns and closes and never writes to. */
export class OverlayDisk implements BlockBackend {
  readonly size: number;
  readonly blockSize: number;
  readonly #base: BlockBackend;
  readonly #top: BlockBackend;
  readonly #map: Uint8Array;
  readonly #lock = new RangeLock();

  /** @throws RangeError for a top that is too small or cannot be written, a block size or a map that does not fit */
  constructor(base: BlockBackend, { top, blockSize = PAGE_SIZE, map }: OverlayOptions = {}) {
    if (!Number.isInteger(Math.log2(blockSize)) || blockSize < 512 || blockSize > 2 ** 20) {
      throw new RangeError(`an overlay cannot have blocks of ${blockSize} bytes`);
    }
    this.size = base.size;
    this.blockSize = blockSize;
    this.#base = base;
    this.#top = top ?? new MemoryDisk(base.size);
    if (!this.#top.write || this.#top.readOnly)
      throw new RangeError('the top of an overlay must be writable');
    if (this.#top.size < base.size) {
      throw new RangeError(`a top of ${this.#top.size} bytes is too small for a base of ${base.size}`);
    }
    const bytes = Math.ceil(Math.ceil(base.size / blockSize) / 8);
    if (map && map.length !== bytes)
      throw new RangeError(`a map of ${map.length} bytes where ${bytes} are needed`);
    this.#map = map ? map.slice() : new Uint8Array(bytes);
  }

  /** A copy of the map: bit n of byte n / 8, lowest first, is set when block n is in the top. */
  map(): Uint8Array {
    return this.#map.slice();
  }

  read(offset: number, into: Uint8Array): Done {
    return this.readv(offset, [into]);
  }

  readv(offset: number, into: Pieces): Done {
    const length = lengthOf(into);
    checkRange(this.size, offset, length);
    return this.#hold(offset, length, false, () => {
      const pending: Promise<void>[] = [];
      for (const { inTop, start, end } of this.#runs(offset, offset + length)) {
        const pieces = end - start === length ? into : slicePieces(into, start - offset, end - start);
        const done = readPieces(inTop ? this.#top : this.#base, start, pieces);
        if (done) pending.push(done);
      }
      return settleAll(pending);
    });
  }

  write(offset: number, from: Uint8Array): Done {
    return this.writev(offset, [from]);
  }

  writev(offset: number, from: Pieces): Done {
    const length = lengthOf(from);
    checkRange(this.size, offset, length);
    return this.#hold(offset, length, true, () => this.#store(offset, length, from));
  }

  flush(): Done {
    return this.#top.flush?.();
  }

  /** Blocks that are discarded whole fall back to the base, and the top gives up their storage. */
  discard(offset: number, length: number): Done {
    checkRange(this.size, offset, length);
    const start = alignUp(offset, this.blockSize);
    const end = offset + length === this.size ? this.size : alignDown(offset + length, this.blockSize);
    if (start >= end) return undefined;
    return this.#hold(start, end - start, true, () => {
      this.#mark(start, end, false);
      return this.#top.discard?.(start, end - start);
    });
  }

  writeZeroes(offset: number, length: number, mayUnmap: boolean): Done {
    checkRange(this.size, offset, length);
    return this.#hold(offset, length, true, () => {
      const end = offset + length;
      // The blocks at both ends that are covered in part, and whole blocks between them.
      const head = Math.min(alignUp(offset, this.blockSize), end);
      const tail = end === this.size ? end : Math.max(alignDown(end, this.blockSize), head);
      const first = this.#storeZeroes(offset, head);
      const second = inOrder(first, () => this.#zeroTop(head, tail, mayUnmap));
      return inOrder(second, () => this.#storeZeroes(tail, end));
    });
  }

  /** Forgets everything written: the disk is the base again. Waits for requests in flight. */
  reset(): Done {
    return this.#lock.hold(0, this.size, true, () => {
      this.#map.fill(0);
      return this.#top.discard?.(0, this.size);
    });
  }

  async close(): Promise<void> {
    const results = await Promise.allSettled([this.#top.close?.(), this.#base.close?.()]);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  #hold(offset: number, length: number, exclusive: boolean, work: () => Done): Done {
    return this.#lock.hold(
      alignDown(offset, this.blockSize),
      alignUp(offset + length, this.blockSize),
      exclusive,
      work,
    );
  }

  /** Writes a range into the top, its first and last block completed from the base. The caller holds the lock. */
  #store(offset: number, length: number, from: Pieces): Done {
    if (length === 0) return undefined;
    const end = offset + length;
    const first = alignDown(offset, this.blockSize);
    const last = Math.min(alignUp(end, this.blockSize), this.size);
    const before = this.#has(first) ? 0 : offset - first;
    const after = this.#has(last - 1) ? 0 : last - end;
    const finish = (): void => this.#mark(first, last, true);
    if (before + after === 0) return inOrder(writePieces(this.#top, offset, from), finish);
    const head = new Uint8Array(before);
    const tail = new Uint8Array(after);
    const read = inOrder(before > 0 ? this.#base.read(first, head) : undefined, () =>
      after > 0 ? this.#base.read(end, tail) : undefined,
    );
    const whole = [head, ...from, tail].filter((piece) => piece.length > 0);
    return inOrder(
      inOrder(read, () => writePieces(this.#top, offset - before, whole)),
      finish,
    );
  }

  #storeZeroes(start: number, end: number): Done {
    return end > start ? this.#store(start, end - start, [new Uint8Array(end - start)]) : undefined;
  }

  #zeroTop(start: number, end: number, mayUnmap: boolean): Done {
    if (start >= end) return undefined;
    const top = this.#top;
    const zeroed = top.writeZeroes
      ? top.writeZeroes(start, end - start, mayUnmap)
      : writeZeroesBy((at, pieces) => writePieces(top, at, pieces), start, end - start);
    return inOrder(zeroed, () => this.#mark(start, end, true));
  }

  /** @param at a byte of the block */
  #has(at: number): boolean {
    const block = Math.floor(at / this.blockSize);
    return ((this.#map[block >>> 3]! >>> (block & 7)) & 1) === 1;
  }

  /** @param start a multiple of the block size; `end` too, or the disk's end */
  #mark(start: number, end: number, inTop: boolean): void {
    for (let block = start / this.blockSize; block * this.blockSize < end; block += 1) {
      const bit = 1 << (block & 7);
      const byte = this.#map[block >>> 3]!;
      this.#map[block >>> 3] = inTop ? byte | bit : byte & ~bit;
    }
  }

  /** The range cut where it changes between base and top. */
  *#runs(start: number, end: number): IterableIterator<{ inTop: boolean; start: number; end: number }> {
    for (let at = start; at < end; ) {
      const inTop = this.#has(at);
      let next = alignDown(at, this.blockSize) + this.blockSize;
      while (next < end && this.#has(next) === inTop) next += this.blockSize;
      const stop = Math.min(next, end);
      yield { inTop, start: at, end: stop };
      at = stop;
    }
  }
}

/** Waits for all of them even when one fails: their buffers are lent until the last has settled. */
function settleAll(pending: readonly Promise<void>[]): Done {
  if (pending.length <= 1) return pending[0];
  return Promise.allSettled(pending).then((results) => {
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  });
}
