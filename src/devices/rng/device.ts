/**
 * Entropy device (virtio 1.2 §5.4): fills every buffer the driver posts. No features, no configuration.
 * Runs on: main.
 */
import type { Session, VirtioDevice } from '../../virtio/device.js';
import type { Chain } from '../../virtio/queue.js';
import { type RateLimit, RateLimiter } from '../rate-limiter.js';
import type { EntropySource } from './backend.js';

const DEVICE_ID = 4; // §5.4.1
const REQUESTQ = 0; // §5.4.2
const QUEUE_SIZE = 64;

/**
 * Bytes served per request. Descriptors of one chain may overlap, so a small guest could otherwise ask for far more
 * entropy than it has memory.
 */
export const MAX_REQUEST = 64 * 1024;
/** Bytes served in one turn of the event loop, some 100 µs of a cipher; a request counts as 1 KiB at least. */
const MAX_TURN = 128 * 1024;
const LEAST_COST = 1024;

export class RngDevice implements VirtioDevice {
  readonly type = DEVICE_ID;
  readonly queueSizes = [QUEUE_SIZE];
  readonly features = 0n;
  readonly limiter: RateLimiter;
  #session: Session | undefined;
  #stopWaiting: (() => void) | undefined;

  constructor(
    readonly name: string,
    private readonly source: EntropySource,
    limit: RateLimit = {},
  ) {
    this.limiter = new RateLimiter(limit);
  }

  activate(session: Session): void {
    this.#session = session;
  }

  kick(index: number): void {
    const session = this.#session;
    const queue = session?.queues[REQUESTQ];
    if (!session || !queue || index !== REQUESTQ || this.#stopWaiting) return;
    let served = 0;
    do {
      for (let chain = queue.pop(); chain; chain = queue.pop()) {
        const wait = this.limiter.take(requested(chain));
        if (wait > 0) {
          queue.unpop();
          this.#later(session, wait);
          if (queue.publish()) session.interrupt();
          return;
        }
        const written = this.#fill(chain);
        queue.push(chain, written);
        served += Math.max(written, LEAST_COST);
        if (served >= MAX_TURN) {
          session.kickLater(REQUESTQ);
          if (queue.publish()) session.interrupt();
          return;
        }
      }
    } while (queue.rearm());
    if (queue.publish()) session.interrupt();
  }

  reset(): void {
    this.#stopWaiting?.();
    this.#stopWaiting = undefined;
    this.#session = undefined;
  }

  #later(session: Session, ms: number): void {
    this.#stopWaiting = this.limiter.later(ms, () => {
      this.#stopWaiting = undefined;
      session.run(() => this.kick(REQUESTQ));
    });
  }

  /** @returns bytes written (§5.4.6.1: the driver must not rely on all of its buffer being filled) */
  #fill({ writable }: Chain): number {
    let filled = 0;
    for (const buffer of writable) {
      const part = buffer.subarray(0, MAX_REQUEST - filled);
      if (part.length > 0) this.source.fill(part);
      filled += part.length;
    }
    return filled;
  }
}

const requested = ({ writable }: Chain): number =>
  Math.min(
    MAX_REQUEST,
    writable.reduce((sum, { length }) => sum + length, 0),
  );
