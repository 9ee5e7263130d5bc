/** Random numbers that come again: a test that fails says its seed, and the seed repeats it. */
export class Random {
  #state: number;

  /** @param seed any whole number */
  constructor(readonly seed: number) {
    this.#state = seed >>> 0;
  }

  /** A seed from the environment (TEST_SEED), or the one given. */
  static fromEnvironment(seed: number): Random {
    return new Random(Number(process.env['TEST_SEED'] ?? seed));
  }

  /** 32 bits. A Weyl sequence through an integer hash (splitmix32). */
  next(): number {
    this.#state = (this.#state + 0x9e37_79b9) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0_aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a_2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** A whole number in [0, limit). @param limit at most 2^32 */
  below(limit: number): number {
    return Math.floor((this.next() / 2 ** 32) * limit);
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const words = new Uint32Array(bytes.buffer, 0, length >>> 2);
    for (let index = 0; index < words.length; index += 1) words[index] = this.next();
    for (let index = words.length * 4; index < length; index += 1) bytes[index] = this.next();
    return bytes;
  }

  /** @param probability 0 … 1 */
  chance(probability: number): boolean {
    return this.next() / 2 ** 32 < probability;
  }

  /** Bytes that compress to about half: runs and noise. */
  compressible(length: number): Uint8Array {
    const bytes = this.bytes(length);
    for (let at = 0; at < length; ) {
      const run = 1 + this.below(64);
      if (this.chance(0.5)) bytes.fill(this.below(256), at, at + run);
      at += run;
    }
    return bytes;
  }

  /** Shuffles in place. */
  shuffle<T>(list: T[]): T[] {
    for (let index = list.length - 1; index > 0; index -= 1) {
      const other = this.below(index + 1);
      [list[index], list[other]] = [list[other]!, list[index]!];
    }
    return list;
  }
}
