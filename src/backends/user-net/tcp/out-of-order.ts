/**
 * Data that came before what precedes it (RFC 9293 §3.10.7.4): kept in order and without overlaps until the gap is filled, and told of
 * in blocks (RFC 2018).
 * Bounded by the window, which the caller cuts data to, and by the number of pieces that is worth its cost.
 * Runs on: main.
 */
import { MAX_SACK_BLOCKS, type SackBlock } from './segment.js';
import { add, before, distance, notAfter } from './sequence.js';

/**
 * A guest that sends single bytes with gaps between them must not cost much more than its window: pieces beyond a few are kept if they
 * have as many bytes as this, one with another.
 */
const FEW_PIECES = 128;
const WORTH_KEEPING = 512;

interface Piece {
  readonly seq: number;
  readonly bytes: Uint8Array;
  /** The number of the last arrival that had some of it. */
  arrival: number;
}

export class OutOfOrder {
  #pieces: Piece[] = [];
  #arrivals = 0;

  /** Bytes kept. */
  get length(): number {
    return this.#pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  get isEmpty(): boolean {
    return this.#pieces.length === 0;
  }

  /**
   * What to tell the guest: whole stretches, the one that something came for last first, so that each is told several times (RFC 2018
   * §4). Empty without a gap.
   */
  get blocks(): SackBlock[] {
    const runs: { left: number; right: number; arrival: number }[] = [];
    for (const { seq, bytes, arrival } of this.#pieces) {
      const last = runs.at(-1);
      const right = add(seq, bytes.length);
      if (last?.right !== seq) runs.push({ left: seq, right, arrival });
      else {
        last.right = right;
        last.arrival = Math.max(last.arrival, arrival);
      }
    }
    runs.sort((a, b) => b.arrival - a.arrival);
    return runs.slice(0, MAX_SACK_BLOCKS).map(({ left, right }) => ({ left, right }));
  }

  /**
   * Keeps what is new of `bytes`; what came first counts. Forgets the farthest when there are too many pieces, even if the guest was
   * told of it (RFC 2018 §8).
   */
  insert(seq: number, bytes: Uint8Array): void {
    const added: Piece[] = [];
    this.#arrivals += 1;
    const arrival = this.#arrivals;
    const keep = (from: number, to: number): void => {
      // A copy: a small piece must not keep the frame it came in.
      added.push({ seq: from, bytes: bytes.slice(distance(seq, from), distance(seq, to)), arrival });
    };
    let start = seq;
    const end = add(seq, bytes.length);
    for (const piece of this.#pieces) {
      const stop = add(piece.seq, piece.bytes.length);
      if (notAfter(stop, start)) continue;
      if (notAfter(end, piece.seq)) break;
      piece.arrival = arrival;
      if (before(start, piece.seq)) keep(start, piece.seq);
      start = stop;
      if (notAfter(end, start)) break;
    }
    if (before(start, end)) keep(start, end);
    if (added.length === 0) return;
    this.#pieces.push(...added);
    this.#pieces.sort((a, b) => -distance(a.seq, b.seq));
    if (this.#pieces.length <= FEW_PIECES) return;
    const most = Math.max(FEW_PIECES, Math.floor(this.length / WORTH_KEEPING));
    this.#pieces.length = Math.min(this.#pieces.length, most);
  }

  /** Takes the data that begins at or before `next` and is not all old; undefined when there is a gap. */
  take(next: number): Uint8Array | undefined {
    for (let first = this.#pieces[0]; first; first = this.#pieces[0]) {
      if (before(next, first.seq)) return;
      this.#pieces.shift();
      const old = distance(first.seq, next);
      if (old < first.bytes.length) return first.bytes.subarray(old);
    }
    return;
  }

  clear(): void {
    this.#pieces = [];
  }
}
