/**
 * Pieces of memory as readv(2) and writev(2) take them. One list serves call after call: the kernel is done with it when the
 * call returns.
 * Runs on: main.
 */
import { addon } from './addon.js';

/** UIO_MAXIOV, <linux/uio.h>: pieces of one call. */
export const MAX_PIECES = 1024;
/** struct iovec: two 64-bit numbers. */
const WORDS = 4;

export class Iovecs {
  /** Where the list lies. */
  readonly address: number;
  readonly #words = new Uint32Array(MAX_PIECES * WORDS);
  /** Guest memory is a few buffers, which stay where they are; asking costs ten times more than this. */
  readonly #addresses = new WeakMap<ArrayBufferLike, number>();
  #lastBuffer: ArrayBufferLike | undefined;
  #lastAddress = 0;

  constructor() {
    this.address = addon.addressOf(new Uint8Array(this.#words.buffer));
  }

  /** @param pieces MAX_PIECES at most @returns how many there are */
  set(pieces: readonly Uint8Array[]): number {
    const words = this.#words;
    let word = 0;
    for (const piece of pieces) {
      const address = this.#addressOf(piece.buffer) + piece.byteOffset;
      words[word] = address >>> 0;
      words[word + 1] = address / 2 ** 32;
      words[word + 2] = piece.length;
      words[word + 3] = 0;
      word += WORDS;
    }
    return pieces.length;
  }

  #addressOf(buffer: ArrayBufferLike): number {
    if (buffer === this.#lastBuffer) return this.#lastAddress;
    let address = this.#addresses.get(buffer);
    if (address === undefined) {
      address = addon.addressOf(new Uint8Array(buffer as ArrayBuffer));
      this.#addresses.set(buffer, address);
    }
    this.#lastBuffer = buffer;
    this.#lastAddress = address;
    return address;
  }
}
