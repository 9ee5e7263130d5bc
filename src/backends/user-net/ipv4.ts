/**
 * IPv4 (RFC 791): reading checks everything that could mislead what comes after; options are skipped, source routes refused.
 * Runs on: main.
 */
import type { Address } from './address.js';
import { addWords, finish, setU16 } from './checksum.js';
import type { IpFragment, IpPacket } from './ip-packet.js';

/** Bytes of a header without options, as all are that are written here. */
export const IPV4_HEADER = 20;

const FLAG = { DONT_FRAGMENT: 0x4000, MORE: 0x2000, OFFSET: 0x1fff } as const;
/** Loose and strict source routes (RFC 791 §3.1): who honours them lets a guest choose a path around a policy. */
const SOURCE_ROUTES = new Set([131, 137]);

/** @returns undefined for what is no sound packet; bytes after its own length are left out */
export function parseIpv4(bytes: Uint8Array, partial: boolean): IpPacket | IpFragment | undefined {
  if (bytes.length < IPV4_HEADER || bytes[0]! >>> 4 !== 4) return;
  const header = (bytes[0]! & 15) * 4;
  const length = (bytes[2]! << 8) | bytes[3]!;
  if (header < IPV4_HEADER || length < header || length > bytes.length) return;
  if (finish(addWords(bytes, 0, header)) !== 0) return;
  if (header > IPV4_HEADER && hasSourceRoute(bytes.subarray(IPV4_HEADER, header))) return;
  const packet = {
    source: bytes.slice(12, 16),
    destination: bytes.slice(16, 20),
    protocol: bytes[9]!,
    hops: bytes[8]!,
    payload: bytes.subarray(header, length),
    raw: bytes.subarray(0, length),
    partial,
  };
  const flags = (bytes[6]! << 8) | bytes[7]!;
  const more = (flags & FLAG.MORE) !== 0;
  const offset = (flags & FLAG.OFFSET) * 8;
  if (!more && offset === 0) return packet;
  return { ...packet, id: (bytes[4]! << 8) | bytes[5]!, offset, more };
}

function hasSourceRoute(options: Uint8Array): boolean {
  for (let at = 0; at < options.length && options[at] !== 0; ) {
    if (SOURCE_ROUTES.has(options[at]!)) return true;
    // 1 is a no-operation without length; a length below 2 would never end.
    at += options[at] === 1 ? 1 : Math.max(options[at + 1] ?? 0, 2);
  }
  return false;
}

export interface Ipv4Header {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  /** Bytes after the header. */
  readonly length: number;
  readonly id?: number;
  /** Bytes, a multiple of 8; with `more` it makes a fragment. */
  readonly offset?: number;
  readonly more?: boolean;
}

/** Writes a header to the first 20 bytes. A packet that is no fragment must not become one. */
export function writeIpv4(bytes: Uint8Array, header: Ipv4Header): void {
  const { id = 0, offset = 0, more = false } = header;
  const length = IPV4_HEADER + header.length;
  const whole = offset === 0 && !more;
  const flags = whole ? FLAG.DONT_FRAGMENT : (more ? FLAG.MORE : 0) | (offset / 8);
  // Byte by byte: an array made for every packet costs more than all the rest.
  setU16(bytes, 0, 0x4500);
  setU16(bytes, 2, length);
  setU16(bytes, 4, id);
  setU16(bytes, 6, flags);
  bytes[8] = 64;
  bytes[9] = header.protocol;
  setU16(bytes, 10, 0);
  bytes.set(header.source, 12);
  bytes.set(header.destination, 16);
  setU16(bytes, 10, finish(addWords(bytes, 0, IPV4_HEADER)));
}
