/**
 * A rate limit in one direction, paid afterwards: how large a frame is may not be known before it is there, so its successor
 * waits for it. Runs on: main.
 */
import type { Session } from '../../virtio/device.js';
import type { RateLimiter } from '../rate-limiter.js';

export class Pacer {
  #owed = 0; // bytes
  #stopWaiting: (() => void) | undefined;

  /** @param goOn called, inside the session, when `mustWait` may have become false */
  constructor(
    private readonly limiter: RateLimiter,
    private readonly session: Session,
    private readonly goOn: () => void,
  ) {}

  /** Whether the next frame must wait; `goOn` is called later then. */
  mustWait(): boolean {
    if (this.#stopWaiting) return true;
    if (this.#owed === 0) return false;
    const wait = this.limiter.take(this.#owed);
    if (wait === 0) {
      this.#owed = 0;
      return false;
    }
    this.#stopWaiting = this.limiter.later(wait, () => {
      this.#stopWaiting = undefined;
      this.session.run(this.goOn);
    });
    return true;
  }

  /** A frame of so many bytes has passed. */
  passed(bytes: number): void {
    if (this.limiter.active) this.#owed += bytes;
  }

  stop(): void {
    this.#stopWaiting?.();
    this.#stopWaiting = undefined;
  }
}
