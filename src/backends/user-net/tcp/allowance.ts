/**
 * Memory that the connections of a network share: each has a small buffer of its own, and larger ones come out of a common
 * pool, so that a few busy ones are fast and a thousand stalled ones cost what a thousand small buffers do.
 * Runs on: main.
 */

export class Allowance {
  #left: number;

  /** @param bytes of the pool */
  constructor(bytes: number) {
    this.#left = bytes;
  }

  get left(): number {
    return this.#left;
  }

  /** @returns whether `bytes` could be had; a quarter is kept for those who come later */
  take(bytes: number): boolean {
    if (bytes > this.#left / 4) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

/** One buffer's limit: it grows in powers of two while it is used well, and gives back what it took. */
export class Grant {
  readonly #pool: Allowance;
  readonly #least: number;
  readonly #most: number;
  #size: number;

  constructor(pool: Allowance, least: number, most: number) {
    this.#pool = pool;
    this.#least = least;
    this.#most = most;
    this.#size = least;
  }

  /** Bytes. */
  get size(): number {
    return this.#size;
  }

  /** Doubles the limit if the pool allows. */
  grow(): boolean {
    if (this.#size * 2 > this.#most || !this.#pool.take(this.#size)) return false;
    this.#size *= 2;
    return true;
  }

  /** Gives back everything but the least. */
  release(): void {
    this.#pool.give(this.#size - this.#least);
    this.#size = this.#least;
  }
}
