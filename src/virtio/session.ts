/**
 * One activation of a device as its transport holds it: everything a device started through it ends with it.
 * Runs on: main.
 */
import type { Session } from './device.js';
import type { Queue } from './queue.js';

export interface SessionHooks {
  readonly interrupt: () => void;
  readonly kick: (index: number) => void;
  readonly contain: (action: () => void) => void;
}

export class ActiveSession implements Session {
  #ended = false;
  readonly #later = new Set<number>();
  readonly #pushed = new Set<number>();
  /** Whoever called will publish. */
  #publishing = false;

  constructor(
    readonly features: bigint,
    readonly queues: readonly (Queue | undefined)[],
    private readonly hooks: SessionHooks,
  ) {}

  interrupt(): void {
    if (!this.#ended) this.hooks.interrupt();
  }

  publishSoon(index: number): void {
    if (this.#pushed.size === 0 && !this.#publishing) process.nextTick(() => this.#publish());
    this.#pushed.add(index);
  }

  /** Does work that ends by itself, and publishes what it pushed at once: no tick is awaited for what a kick's own call has done. */
  publishing(work: () => void): void {
    this.#publishing = true;
    try {
      work();
    } finally {
      this.#publishing = false;
    }
    if (this.#pushed.size > 0) this.#publish();
  }

  kickLater(index: number): void {
    if (this.#later.has(index)) return;
    this.#later.add(index);
    setImmediate(() => {
      this.#later.delete(index);
      if (!this.#ended) this.hooks.kick(index);
    });
  }

  run(action: () => void): void {
    if (!this.#ended) this.hooks.contain(action);
  }

  stopQueue(index: number): void {
    this.queues[index]?.stop();
  }

  /** A tick asked for in a promise's continuation comes after all continuations that are due. */
  #publish(): void {
    let interrupt = false;
    for (const index of this.#pushed) interrupt = this.queues[index]?.publish() || interrupt;
    this.#pushed.clear();
    if (interrupt) this.interrupt();
  }

  end(): void {
    this.#ended = true;
    for (const queue of this.queues) queue?.stop();
  }
}
