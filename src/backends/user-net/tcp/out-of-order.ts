/**
 * Data that came before what precedes it (RFC 9293 §3.10.7.4): kept in order and without overlaps until the gap is filled.
 * Bounded by the window, which the caller cuts data to, and by a number of pieces.
 * Runs on: main.
 */
import { add, before, distance, notAfter } from './sequence.js';

/** A guest that sends single bytes with gaps between them must not cost much more than its window. */
const MAX_PIECES = 128;

interface Piece {
  readonly seq: number;
  readonly bytes: Uint8Array;
}

export class OutOfOrder {
  #pieces: Piece[] = [];

  /** Bytes kept. */
  get length(): number {
    return this.#pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  get isEmpty(): boolean {
    return this.#pieces.length === 0;
  }

  /** Keeps what is new of `bytes`; what came first counts. Forgets the farthest when there are too many pieces. */
  insert(seq: number, bytes: Uint8Array): void {
    const added: Piece[] = [];
    let start = seq;
    const end = add(seq, bytes.length);
    for (const piece of this.#pieces) {
      const stop = add(piece.seq, piece.bytes.length);
      if (notAfter(stop, start)) continue;
      if (notAfter(end, piece.seq)) break;
      if (before(start, piece.seq)) added.push(cut(seq, bytes, start, piece.seq));
      start = stop;
      if (notAfter(end, start)) break;
    }
    if (before(start, end)) added.push(cut(seq, bytes, start, end));
    if (added.length === 0) return;
    this.#pieces.push(...added);
    this.#pieces.sort((a, b) => -distance(a.seq, b.seq));
    this.#pieces.length = Math.min(this.#pieces.length, MAX_PIECES);
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

/** A copy: a small piece must not keep the frame it came in. */
const cut = (seq: number, bytes: Uint8Array, start: number, end: number): Piece => ({
  seq: start,
  bytes: bytes.slice(distance(seq, start), distance(seq, end)),
});
