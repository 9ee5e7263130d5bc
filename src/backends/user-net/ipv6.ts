/**
 * IPv6 (RFC 8200): the fixed header and the extension headers before what matters. Routing headers with segments left are
 * refused, as RFC 5095 demands of the one that was ever dangerous.
 * Runs on: main.
 */
import type { Address } from './address.js';
import type { IpFragment, IpPacket } from './ip-packet.js';

/** Bytes of the fixed header. */
export const IPV6_HEADER = 40;
/** Bytes of a fragment header. */
export const FRAGMENT_HEADER = 8;

const NEXT = { HOP_BY_HOP: 0, ROUTING: 43, FRAGMENT: 44, DESTINATION: 60 } as const;
/** More extension headers than this are nobody's. */
const MAX_EXTENSIONS = 8;

/** @returns undefined for what is no sound packet; bytes after its own length are left out */
export function parseIpv6(bytes: Uint8Array, partial: boolean): IpPacket | IpFragment | undefined {
  if (bytes.length < IPV6_HEADER || bytes[0]! >>> 4 !== 6) return;
  const end = IPV6_HEADER + ((bytes[4]! << 8) | bytes[5]!);
  if (end > bytes.length) return;
  const base = { source: bytes.slice(8, 24), destination: bytes.slice(24, 40), hops: bytes[7]!, partial };
  const raw = bytes.subarray(0, end);
  let next = bytes[6]!;
  let at = IPV6_HEADER;
  for (let count = 0; count < MAX_EXTENSIONS; count += 1) {
    switch (next) {
      case NEXT.HOP_BY_HOP:
      case NEXT.DESTINATION:
      case NEXT.ROUTING: {
        if (at + 8 > end) return;
        if (next === NEXT.ROUTING && bytes[at + 3] !== 0) return; // segments left
        next = bytes[at]!;
        at += (bytes[at + 1]! + 1) * 8;
        if (at > end) return;
        continue;
      }
      case NEXT.FRAGMENT: {
        if (at + FRAGMENT_HEADER > end) return;
        const word = (bytes[at + 2]! << 8) | bytes[at + 3]!;
        const view = new DataView(bytes.buffer, bytes.byteOffset + at, FRAGMENT_HEADER);
        const fragment = {
          ...base,
          raw,
          protocol: bytes[at]!,
          payload: bytes.subarray(at + FRAGMENT_HEADER, end),
        };
        return { ...fragment, id: view.getUint32(4), offset: word & 0xfff8, more: (word & 1) === 1 };
      }
      default:
        return { ...base, raw, protocol: next, payload: bytes.subarray(at, end) };
    }
  }
  return;
}

export interface Ipv6Header {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  /** Bytes after the header. */
  readonly length: number;
  /** 255 for neighbour discovery. */
  readonly hops?: number;
}

/** Writes a header to the first 40 bytes. */
export function writeIpv6(
  bytes: Uint8Array,
  { source, destination, protocol, length, hops }: Ipv6Header,
): void {
  bytes.set([0x60, 0, 0, 0, length >>> 8, length & 0xff, protocol, hops ?? 64]);
  bytes.set(source, 8);
  bytes.set(destination, 24);
}

/** Writes a fragment header. @param offset bytes, a multiple of 8 */
export function writeFragment(
  bytes: Uint8Array,
  { protocol, offset, more, id }: { protocol: number; offset: number; more: boolean; id: number },
): void {
  const word = offset | (more ? 1 : 0);
  bytes.set([
    protocol,
    0,
    word >>> 8,
    word & 0xff,
    id >>> 24,
    (id >>> 16) & 0xff,
    (id >>> 8) & 0xff,
    id & 0xff,
  ]);
}
