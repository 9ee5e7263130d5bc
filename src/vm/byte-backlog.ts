/**
 * Bytes waiting for a reader, up to a limit; then the oldest go. Kept in blocks, so that a guest that writes a byte at a
 * time costs no more than one that writes them at once.
 * Runs on: main.
 */

/** Bytes of a block; also how finely old bytes are dropped. */
const BLOCK = 16 * 1024;

export class ByteBacklog {
  readonly #limit: number;
  /** Oldest first; all but the last are complete. */
  readonly #blocks: Buffer[] = [];
  /** Bytes used of the last block. */
  #filled = 0;
  #length = 0;

  /** @param limit bytes kept at most */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#length;
  }

  /** Copies `bytes` behind the others. @returns how many of the oldest were dropped for them */
  append(bytes: Uint8Array): number {
    for (let done = 0; done < bytes.length; ) {
      let last = this.#blocks.at(-1);
      if (!last || this.#filled === last.length) {
        last = Buffer.allocUnsafeSlow(BLOCK);
        this.#blocks.push(last);
        this.#filled = 0;
      }
      const part = bytes.subarray(done, done + last.length - this.#filled);
      last.set(part, this.#filled);
      this.#filled += part.length;
      this.#length += part.length;
      done += part.length;
    }
    let dropped = 0;
    while (this.#length > this.#limit) dropped += this.take()?.length ?? 0;
    return dropped;
  }

  /** The oldest bytes, up to a block; undefined when there are none. The caller owns them. */
  take(): Buffer | undefined {
    const block = this.#blocks.shift();
    if (!block) return undefined;
    const bytes = this.#blocks.length > 0 ? block : block.subarray(0, this.#filled);
    this.#length -= bytes.length;
    return bytes;
  }
}
