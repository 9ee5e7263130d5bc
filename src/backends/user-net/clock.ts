/** Time as the network knows it, so that tests can make their own. Runs on: main. */
import { performance } from 'node:perf_hooks';

/** A source of time. Nothing here keeps a process alive. */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. */
  now(): number;
  /** Calls `action` once after `ms`; the result takes it back. */
  after(ms: number, action: () => void): () => void;
  /** Calls `action` when what runs now has ended: after all frames of one kick, before anything else. */
  soon(action: () => void): void;
}

/** The host's clock. */
export const hostClock: Clock = {
  now: () => performance.now(),
  after(ms, action) {
    const timer = setTimeout(action, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
  soon: queueMicrotask,
};

/** A timer that is set anew far more often than it fires: moving it later costs no more than an assignment. */
export class LazyTimer {
  readonly #clock: Clock;
  readonly #action: () => void;
  #deadline = Number.POSITIVE_INFINITY;
  #armedFor = Number.POSITIVE_INFINITY;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, action: () => void) {
    this.#clock = clock;
    this.#action = action;
  }

  get isSet(): boolean {
    return this.#deadline !== Number.POSITIVE_INFINITY;
  }

  set(ms: number): void {
    this.#deadline = this.#clock.now() + ms;
    if (this.#armedFor <= this.#deadline) return; // fires earlier, sees that it is too early, and waits for the rest
    this.#cancel?.();
    this.#arm(ms);
  }

  /** Forgets the deadline; a timer of the clock may still fire, in vain, unless `stop` is called. */
  clear(): void {
    this.#deadline = Number.POSITIVE_INFINITY;
  }

  stop(): void {
    this.clear();
    this.#cancel?.();
    this.#cancel = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
  }

  #arm(ms: number): void {
    this.#armedFor = this.#clock.now() + ms;
    this.#cancel = this.#clock.after(ms, () => this.#fire());
  }

  #fire(): void {
    this.#cancel = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
    if (!this.isSet) return;
    const left = this.#deadline - this.#clock.now();
    // A clock may fire a fraction of a millisecond early.
    if (left > 1) {
      this.#arm(left);
      return;
    }
    this.clear();
    this.#action();
  }
}
