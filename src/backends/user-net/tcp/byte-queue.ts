/**
 * Bytes in order, in chunks: pushed at the end, read anywhere, dropped from the front. Chunks that come in are kept as they are;
 * small ones are gathered into blocks, so that a million writes of one byte cost a million bytes.
 * Runs on: main.
 */

/** A chunk below this is copied into a block. */
const SMALL = 4096;
const BLOCK = 16_384;

export class ByteQueue {
  #chunks: Uint8Array[] = [];
  /** The free part of the last chunk, when that is a block of ours. */
  #room: Uint8Array = new Uint8Array(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Takes `bytes`, which may be kept: the caller must not change them. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#length += bytes.length;
    if (bytes.length >= SMALL) {
      this.#chunks.push(bytes);
      this.#room = new Uint8Array(0);
      return;
    }
    let rest = bytes;
    if (this.#room.length > 0) {
      const part = rest.subarray(0, this.#room.length);
      this.#room.set(part);
      const last = this.#chunks.length - 1;
      const chunk = this.#chunks[last]!;
      this.#chunks[last] = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length + part.length);
      this.#room = this.#room.subarray(part.length);
      rest = rest.subarray(part.length);
    }
    if (rest.length === 0) return;
    // The first block of a queue is no larger than it must be: most connections are short.
    const block = new Uint8Array(this.#chunks.length === 0 ? Math.max(512, rest.length) : BLOCK);
    block.set(rest);
    this.#chunks.push(block.subarray(0, rest.length));
    this.#room = block.subarray(rest.length);
  }

  /** Copies `into.length` bytes from `offset` on; all of them must be there. */
  copy(offset: number, into: Uint8Array): void {
    let skip = offset;
    let done = 0;
    for (const chunk of this.#chunks) {
      if (done === into.length) return;
      if (skip >= chunk.length) {
        skip -= chunk.length;
        continue;
      }
      const part = chunk.subarray(skip, skip + into.length - done);
      into.set(part, done);
      done += part.length;
      skip = 0;
    }
    if (done < into.length) throw new RangeError(`bytes ${offset} + ${into.length} of ${this.#length}`);
  }

  /** Forgets the first `count` bytes. */
  drop(count: number): void {
    let rest = Math.min(count, this.#length);
    this.#length -= rest;
    let gone = 0;
    while (rest > 0) {
      const chunk = this.#chunks[gone]!;
      if (chunk.length > rest) {
        this.#chunks[gone] = chunk.subarray(rest);
        break;
      }
      rest -= chunk.length;
      gone += 1;
    }
    this.#chunks.splice(0, gone);
    if (this.#chunks.length === 0) this.#room = new Uint8Array(0);
  }

  /** All chunks, in order; the queue is empty afterwards. */
  takeAll(): Uint8Array[] {
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#room = new Uint8Array(0);
    this.#length = 0;
    return chunks;
  }
}
