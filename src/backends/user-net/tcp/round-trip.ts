/** The retransmission timeout, computed as RFC 6298 says, from one timed segment at a time (Karn's rule). Runs on: main. */

/** RFC 6298 §2.4 wants 1 s; 200 ms, as Linux has it, is still a thousand round trips of a virtual wire. */
const MIN_MS = 200;
const MAX_MS = 60_000;
const INITIAL_MS = 1_000;

export class RoundTrip {
  #smoothed: number | undefined;
  #variation = 0;
  #timeout = INITIAL_MS;
  #backoff = 1;

  /** The timeout now, ms. */
  get timeout(): number {
    return Math.min(this.#timeout * this.#backoff, MAX_MS);
  }

  /** A round trip measured on a segment that was sent once. @param ms its time */
  measured(ms: number): void {
    if (this.#smoothed === undefined) {
      this.#smoothed = ms;
      this.#variation = ms / 2;
    } else {
      this.#variation = 0.75 * this.#variation + 0.25 * Math.abs(this.#smoothed - ms);
      this.#smoothed = 0.875 * this.#smoothed + 0.125 * ms;
    }
    this.#timeout = Math.max(MIN_MS, this.#smoothed + Math.max(1, 4 * this.#variation));
  }

  /** The timer fired (§5.5). */
  backOff(): void {
    if (this.timeout < MAX_MS) this.#backoff *= 2;
  }

  /** New data was acknowledged: what the guest's answers take is known again. */
  restore(): void {
    this.#backoff = 1;
  }
}
