/**
 * Fragments put together again. All of it is bounded: datagrams, their bytes, their time. A fragment that overlaps another
 * ends its datagram (RFC 5722 §4 for IPv6): the ways to read an overlap are how filters are evaded.
 * Runs on: main.
 */
import type { Clock } from './clock.js';
import type { IpFragment, IpPacket } from './ip-packet.js';

/** Datagrams under way at once; the oldest gives way. */
const MAX_DATAGRAMS = 16;
/** A UDP datagram's limit with its header. */
const MAX_BYTES = 65_535;
/** More than a packet of 64 KiB has in pieces of 1280 bytes; tiny fragments are an attack or a mistake. */
const MAX_FRAGMENTS = 64;
/** RFC 8200 §4.5 gives 60 s, RFC 1122 §3.3.2 60 to 120 s; across a virtual wire 5 s is long. */
const LIFETIME_MS = 5_000;

interface Partial {
  readonly pieces: IpFragment[];
  readonly since: number;
  end: number | undefined;
}

export class Reassembly {
  readonly #clock: Clock;
  readonly #datagrams = new Map<string, Partial>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns the whole packet when `fragment` was its last missing piece */
  add(fragment: IpFragment): IpPacket | undefined {
    const { offset, more, payload } = fragment;
    const stop = offset + payload.length;
    if (payload.length === 0 || stop > MAX_BYTES || (more && payload.length % 8 !== 0)) return;
    const key = `${fragment.source} ${fragment.destination} ${fragment.protocol} ${fragment.id}`;
    const partial = this.#find(key);
    const { pieces } = partial;
    if (!more) {
      if (partial.end !== undefined && partial.end !== stop) return this.#drop(key);
      partial.end = stop;
    }
    // A repetition of a fragment is no attack; anything else that overlaps is.
    if (pieces.some((piece) => piece.offset === offset && piece.payload.length === payload.length)) return;
    const overlaps = pieces.some(
      (piece) => offset < piece.offset + piece.payload.length && piece.offset < stop,
    );
    if (overlaps || pieces.length >= MAX_FRAGMENTS) return this.#drop(key);
    pieces.push({ ...fragment, payload: payload.slice(), raw: fragment.raw.slice(0, 80) });
    return this.#complete(key, partial);
  }

  #find(key: string): Partial {
    const now = this.#clock.now();
    for (const [other, { since }] of this.#datagrams) {
      if (now - since > LIFETIME_MS) this.#datagrams.delete(other);
    }
    let partial = this.#datagrams.get(key);
    if (!partial) {
      const [oldest] = this.#datagrams.keys();
      if (this.#datagrams.size >= MAX_DATAGRAMS && oldest !== undefined) this.#datagrams.delete(oldest);
      partial = { pieces: [], since: now, end: undefined };
      this.#datagrams.set(key, partial);
    }
    return partial;
  }

  #drop(key: string): undefined {
    this.#datagrams.delete(key);
    return undefined;
  }

  #complete(key: string, { pieces, end }: Partial): IpPacket | undefined {
    const bytes = pieces.reduce((sum, { payload }) => sum + payload.length, 0);
    if (end === undefined || bytes < end) return;
    this.#datagrams.delete(key);
    if (bytes > end) return; // a piece lies behind the last one
    const payload = new Uint8Array(end);
    for (const piece of pieces) payload.set(piece.payload, piece.offset);
    const first = pieces.find(({ offset }) => offset === 0)!;
    const { source, destination, protocol, hops, raw } = first;
    return { source, destination, protocol, hops, raw, payload, partial: false };
  }
}
