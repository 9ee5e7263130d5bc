/**
 * The half of a connection that takes data from the guest: what is next, how far the guest may go, and what came too early.
 * The window is what the host's side has room for: a slow socket closes it. Its right edge never moves back (RFC 9293 §3.8.6).
 * Runs on: main.
 */
import { type Allowance, Grant } from './allowance.js';
import { OutOfOrder } from './out-of-order.js';
import type { SackBlock } from './segment.js';
import { add, before, distance, notAfter } from './sequence.js';

/** Bytes that a connection may have waiting for its host socket: at first, and when it is fast. */
const LEAST = 2 ** 16;
const MOST = 2 ** 20;
/** Enough for the largest window in 16 bits (RFC 7323 §2.2). */
export const WINDOW_SHIFT = 5;

export class Receiver {
  /** RCV.NXT */
  next: number;
  /** Our scale, if the guest knows of scales. */
  shift = 0;
  /** Whether the guest wants to be told what came behind a gap. */
  sack = false;
  /** The guest has ended its side, and all of it has come. */
  ended = false;
  readonly #grant: Grant;
  readonly #early = new OutOfOrder();
  /** The first sequence number behind the window that was offered. */
  #edge: number;
  /** Where the guest's FIN is, when it came too early. */
  #fin: number | undefined;
  #sinceGrowth = 0;

  /** @param irs the guest's initial sequence number */
  constructor(pool: Allowance, irs: number) {
    this.#grant = new Grant(pool, LEAST, MOST);
    this.next = add(irs, 1);
    this.#edge = this.next;
  }

  /** Bytes the guest may send now, as far as it was told. */
  get window(): number {
    return Math.max(distance(this.next, this.#edge), 0);
  }

  get hasGap(): boolean {
    return !this.#early.isEmpty || this.#fin !== undefined;
  }

  /** What came behind a gap, if there is one and the guest wants to know. */
  get sackBlocks(): readonly SackBlock[] | undefined {
    return this.sack && !this.#early.isEmpty ? this.#early.blocks : undefined;
  }

  /** Bytes that wait for what precedes them. */
  get early(): number {
    return this.#early.length;
  }

  /** RFC 9293 §3.4, table 6. @param space what the segment takes of the sequence space */
  accepts(seq: number, space: number): boolean {
    const inside = (at: number): boolean => notAfter(this.next, at) && before(at, this.#edge);
    if (space === 0) return this.window === 0 ? seq === this.next : inside(seq);
    return this.window > 0 && (inside(seq) || inside(add(seq, space - 1)) || this.#spans(seq, space));
  }

  /**
   * Whether a segment that is not accepted may still be believed in what it acknowledges: one at the edge of the window, behind a
   * probe that found it closed. Without this, two ends with closed windows would never hear of each other again (§3.10.7.4).
   */
  isAtEdge(seq: number): boolean {
    const ahead = distance(this.next, seq);
    return ahead >= 0 && ahead <= this.window + 1;
  }

  /** A segment that begins before the window and ends behind it. */
  #spans(seq: number, space: number): boolean {
    return notAfter(seq, this.next) && notAfter(this.#edge, add(seq, space - 1));
  }

  /**
   * Takes a segment's data, cut to the window, and its end.
   * @param deliver is given data in order, which it may keep
   */
  take(seq: number, data: Uint8Array, fin: boolean, deliver: (bytes: Uint8Array) => void): void {
    const start = Math.max(distance(seq, this.next), 0);
    const stop = Math.min(data.length, distance(seq, this.#edge));
    if (fin && stop === data.length) this.#fin = add(seq, data.length);
    const fresh = start < stop ? data.subarray(start, stop) : undefined;
    if (fresh && notAfter(seq, this.next)) {
      this.#deliver(fresh, deliver);
      for (let more = this.#early.take(this.next); more; more = this.#early.take(this.next)) {
        this.#deliver(more, deliver);
      }
    } else if (fresh) this.#early.insert(add(seq, start), fresh);
    if (this.#fin !== this.next) return;
    this.next = add(this.next, 1);
    this.#fin = undefined;
    this.ended = true;
    this.#early.clear();
  }

  /**
   * The window for the next segment's header, scaled, and from now on promised.
   * @param pending bytes that the host's side has not taken yet
   */
  offer(pending: number): number {
    const room = Math.max(this.#grant.size - pending, 0);
    // Silly windows are not offered (RFC 9293 §3.8.6.2.2): the edge moves by a good part or not at all.
    const edge = add(this.next, room);
    if (distance(this.#edge, edge) >= Math.min(this.#grant.size / 4, 4096)) this.#edge = edge;
    return Math.min(this.window >>> this.shift, 0xffff);
  }

  /** The window for a SYN's header, which is never scaled. */
  offerFirst(): number {
    this.#edge = add(this.next, Math.min(this.#grant.size, 0xffff));
    return this.window;
  }

  /** Whether an offer would open the window by so much that the guest should know at once. */
  shouldTell(pending: number): boolean {
    const room = Math.max(this.#grant.size - pending, 0);
    const limit = 0xffff << this.shift;
    return Math.min(room, limit) - this.window >= this.#grant.size / 2;
  }

  release(): void {
    this.#early.clear();
    this.#grant.release();
  }

  #deliver(bytes: Uint8Array, deliver: (bytes: Uint8Array) => void): void {
    this.next = add(this.next, bytes.length);
    this.#sinceGrowth += bytes.length;
    // A limit's worth has gone through: a larger one would have been used.
    if (this.#sinceGrowth >= this.#grant.size && this.shift > 0) {
      this.#sinceGrowth = 0;
      this.#grant.grow();
    }
    deliver(bytes);
  }
}
