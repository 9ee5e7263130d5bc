/**
 * Token buckets with Firecracker's semantics (its docs/design.md "I/O: Storage, Networking and Rate Limiting"): a bucket
 * of `size` tokens that refills completely in `refillMs`, with a burst on top that is used first and never again. A
 * request larger than the whole bucket goes ahead at once, and what was not in the bucket is waited for afterwards.
 * Runs on: main.
 */

/** One bucket. */
export interface Bucket {
  /** Tokens: bytes, or operations. */
  readonly size: number;
  /** Time in which an empty bucket fills, ms. */
  readonly refillMs: number;
  /** Tokens that may be used once beyond that. */
  readonly oneTimeBurst?: number | undefined;
}

/** Limits of one device; without a bucket there is no limit of its kind. */
export interface RateLimit {
  /** Tokens are bytes. */
  readonly bandwidth?: Bucket | undefined;
  /** Tokens are requests. */
  readonly ops?: Bucket | undefined;
}

/** What setTimeout can wait, ms: with more it would not wait at all. Who is called too early asks again. */
const LONGEST_WAIT = 2 ** 31 - 1;

class TokenBucket {
  #tokens: number;
  #burst: number;
  #filledAt: number;
  /** A request larger than the bucket is being paid off until then. */
  #blockedUntil = 0;

  constructor(
    private readonly bucket: Bucket,
    now: number,
  ) {
    this.#tokens = bucket.size;
    this.#burst = bucket.oneTimeBurst ?? 0;
    this.#filledAt = now;
  }

  /** @returns ms until `count` tokens could be taken; 0 when they can now */
  wait(count: number, now: number): number {
    const { size, refillMs } = this.bucket;
    if (now < this.#blockedUntil) return this.#blockedUntil - now;
    this.#tokens = Math.min(size, this.#tokens + ((now - this.#filledAt) * size) / refillMs);
    this.#filledAt = now;
    const rest = count - this.#burst;
    // Such a request would never find enough: waiting first would only make it later.
    if (rest > size) return 0;
    const missing = rest - this.#tokens;
    return missing <= 0 ? 0 : (missing * refillMs) / size;
  }

  /** Takes tokens that `wait` said are there. */
  take(count: number, now: number): void {
    const { size, refillMs } = this.bucket;
    const fromBurst = Math.min(count, this.#burst);
    this.#burst -= fromBurst;
    const rest = count - fromBurst;
    const excess = rest - this.#tokens;
    this.#tokens = Math.max(0, this.#tokens - rest);
    // A fraction of a token lost to rounding is no excess.
    if (excess > 1e-6) this.#blockedUntil = now + (excess * refillMs) / size;
  }
}

export class RateLimiter {
  #bandwidth: TokenBucket | undefined;
  #ops: TokenBucket | undefined;
  readonly #waiting = new Set<() => void>();

  /** @param now milliseconds, monotonic */
  constructor(
    limit: RateLimit = {},
    private readonly now: () => number = () => performance.now(),
  ) {
    this.update(limit);
  }

  /** New limits from now on, with full buckets; who waits because of the old ones goes on. */
  update({ bandwidth, ops }: RateLimit): void {
    const now = this.now();
    this.#bandwidth = bandwidth && new TokenBucket(bandwidth, now);
    this.#ops = ops && new TokenBucket(ops, now);
    for (const goOn of [...this.#waiting]) goOn();
  }

  /**
   * Calls `ask` once, after `ms` or when there are new limits: a reason to ask again, no promise.
   * @param ms as `take` returned it
   * @returns what takes it back
   */
  later(ms: number, ask: () => void): () => void {
    const goOn = (): void => {
      cancel();
      ask();
    };
    const timer = setTimeout(goOn, Math.min(ms, LONGEST_WAIT));
    const cancel = (): void => {
      clearTimeout(timer);
      this.#waiting.delete(goOn);
    };
    this.#waiting.add(goOn);
    return cancel;
  }

  /** Whether there is anything to limit. */
  get active(): boolean {
    return this.#bandwidth !== undefined || this.#ops !== undefined;
  }

  /** Takes one operation of `bytes`. @returns 0 when it may go ahead, else the ms after which to ask again */
  take(bytes: number): number {
    if (!this.active) return 0;
    const now = this.now();
    const wait = Math.max(this.#bandwidth?.wait(bytes, now) ?? 0, this.#ops?.wait(1, now) ?? 0);
    if (wait > 0) return Math.ceil(wait);
    this.#bandwidth?.take(bytes, now);
    this.#ops?.take(1, now);
    return 0;
  }
}
