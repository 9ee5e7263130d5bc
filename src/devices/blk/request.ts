/**
 * One request, taken apart (virtio 1.2 §5.2.6). Nothing is assumed about how it is cut into descriptors (§2.7.4.1): the
 * head is the first 16 readable bytes, the status the last writable one.
 *
 * Each field of the head is read once. Data stays where it is and is lent to the back end.
 * Runs on: main.
 */
import { GuestFault } from '../../base/errors.js';
import type { Chain } from '../../virtio/queue.js';
import { gather, lengthOf, skip } from '../pieces.js';
import { HEADER } from './protocol.js';

export interface BlkRequest {
  readonly head: number;
  readonly type: number;
  /** First sector; not exact above 2^53, which is beyond any disk. */
  readonly sector: number;
  /** What the driver sends behind the head. */
  readonly out: readonly Uint8Array[];
  readonly outLength: number; // bytes
  /** What the driver wants filled, without the status byte. */
  readonly into: readonly Uint8Array[];
  readonly intoLength: number; // bytes
  /** The status byte itself. */
  readonly status: Uint8Array;
}

/** @throws GuestFault when there is no head, or no place for a status: then the driver cannot be answered */
export function parseRequest({ head, readable, writable }: Chain): BlkRequest {
  const first = readable[0];
  let header: Uint8Array;
  let out: readonly Uint8Array[];
  if (first?.length === HEADER.SIZE) {
    // How every driver does it.
    header = first;
    out = readable.length === 1 ? NOTHING : readable.slice(1);
  } else {
    header = gather(readable, HEADER.SIZE);
    out = skip(readable, HEADER.SIZE);
    if (header.length < HEADER.SIZE) {
      throw new GuestFault(`block request head of ${header.length} bytes`, 'virtio 1.2 §5.2.6');
    }
  }
  const { status, into } = splitStatus(writable);
  return {
    head,
    type: u32(header, HEADER.type),
    sector: u32(header, HEADER.sector + 4) * 2 ** 32 + u32(header, HEADER.sector),
    out,
    outLength: lengthOf(out),
    into,
    intoLength: lengthOf(into),
    status,
  };
}

const NOTHING: readonly Uint8Array[] = [];

function splitStatus(writable: readonly Uint8Array[]): { status: Uint8Array; into: readonly Uint8Array[] } {
  for (let last = writable.length - 1; last >= 0; last -= 1) {
    const piece = writable[last]!;
    if (piece.length === 0) continue;
    const before = writable.slice(0, last);
    if (piece.length === 1) return { status: piece, into: before };
    return { status: piece.subarray(piece.length - 1), into: [...before, piece.subarray(0, -1)] };
  }
  throw new GuestFault('block request without a status byte', 'virtio 1.2 §5.2.6');
}

/** A DataView of so few bytes would cost more than reading them. */
const u32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
