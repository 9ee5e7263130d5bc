/** Frames behind their lengths, out of a stream that is cut anywhere. Runs on: main. */
import { ETHERNET, MAX_FRAME } from '../devices/net/protocol.js';

const PREFIX = 4;

export class FrameReader {
  /** What was pushed and not yet skipped, in order. */
  readonly #chunks: Uint8Array[] = [];
  #offset = 0;
  #available = 0; // bytes
  #current: Uint8Array | undefined;

  push(bytes: Uint8Array): void {
    this.#chunks.push(bytes);
    this.#available += bytes.length;
  }

  /** The next frame, whole; undefined when it is not there yet. `nonsense`: no frame is so long or so short. */
  peek(): Uint8Array | undefined | 'nonsense' {
    if (this.#current) return this.#current;
    if (this.#available < PREFIX) return undefined;
    const prefix = this.#look(PREFIX);
    const length = ((prefix[0]! << 24) | (prefix[1]! << 16) | (prefix[2]! << 8) | prefix[3]!) >>> 0;
    if (length < ETHERNET || length > MAX_FRAME) return 'nonsense';
    if (this.#available < PREFIX + length) return undefined;
    this.#current = this.#look(PREFIX + length).subarray(PREFIX);
    return this.#current;
  }

  /** Done with the frame that `peek` gave. */
  skip(): void {
    if (!this.#current) return;
    let left = PREFIX + this.#current.length;
    this.#available -= left;
    this.#current = undefined;
    while (left > 0) {
      const first = this.#chunks[0]!;
      const part = Math.min(left, first.length - this.#offset);
      left -= part;
      this.#offset += part;
      if (this.#offset === first.length) {
        this.#chunks.shift();
        this.#offset = 0;
      }
    }
  }

  /** The next `length` bytes, which are there; a copy only where they lie in several chunks. */
  #look(length: number): Uint8Array {
    const first = this.#chunks[0]!;
    if (first.length - this.#offset >= length) return first.subarray(this.#offset, this.#offset + length);
    const bytes = new Uint8Array(length);
    let done = 0;
    let offset = this.#offset;
    for (const chunk of this.#chunks) {
      if (done === length) break;
      const part = chunk.subarray(offset, offset + length - done);
      bytes.set(part, done);
      done += part.length;
      offset = 0;
    }
    return bytes;
  }
}
