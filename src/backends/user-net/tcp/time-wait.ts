/**
 * What is left of connections that we ended first (RFC 9293 §3.6.1): enough to acknowledge the guest's FIN again when our
 * acknowledgement was lost, and to tell old segments from a new connection.
 * Runs on: main.
 */
import type { Clock } from '../clock.js';
import { FLAG, has, type Segment, spaceOf } from './segment.js';
import { before } from './sequence.js';

/** Twice the longest life of a segment: nothing on a virtual wire is older than 5 s. */
const DURATION_MS = 10_000;
/** A guest can make them quickly; the oldest gives way. */
const MAX_ENTRIES = 4096;

interface Entry {
  readonly seq: number;
  readonly ack: number;
  readonly until: number;
}

export class TimeWait {
  readonly #clock: Clock;
  /** In the order of their ends. */
  readonly #entries = new Map<string, Entry>();
  #cancel: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#entries.size;
  }

  add(key: string, { seq, ack }: { readonly seq: number; readonly ack: number }): void {
    this.#entries.set(key, { seq, ack, until: this.#clock.now() + DURATION_MS });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > MAX_ENTRIES && oldest !== undefined) this.#entries.delete(oldest);
    this.#cancel ??= this.#clock.after(DURATION_MS, () => this.#sweep());
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }

  /** What a segment for an entry asks for. */
  receive(key: string, segment: Segment): 'open' | 'acknowledge' | 'ignore' {
    const entry = this.#entries.get(key)!;
    if (has(segment, FLAG.RST)) return 'ignore'; // RFC 1337: it must not end the wait
    if (has(segment, FLAG.SYN)) return before(entry.ack, segment.seq) ? 'open' : 'acknowledge';
    return spaceOf(segment) > 0 ? 'acknowledge' : 'ignore';
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#entries.clear();
  }

  #sweep(): void {
    this.#cancel = undefined;
    const now = this.#clock.now();
    for (const [key, { until }] of this.#entries) {
      if (until > now + 1) {
        this.#cancel = this.#clock.after(until - now, () => this.#sweep());
        return;
      }
      this.#entries.delete(key);
    }
  }
}
