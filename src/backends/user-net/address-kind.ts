/**
 * What an address is to a policy. Only public ones can be reached without being named: everything else is the host itself, its
 * neighbours, or a way to write one address as another.
 * Runs on: main.
 */
import ipaddr from 'ipaddr.js';
import type { Address } from './address.js';

export type AddressKind =
  | 'public'
  | 'loopback'
  | 'private' // RFC 1918, RFC 4193, RFC 6598
  | 'link-local'
  | 'metadata' // a cloud's own service at an address that looks public
  | 'translated' // IPv4 inside of IPv6, whichever way
  | 'multicast'
  | 'reserved';

/** Azure's wire server: credentials of the machine, at a public address. */
const METADATA = '168.63.129.16';

const KINDS: Readonly<Record<string, AddressKind>> = {
  loopback: 'loopback',
  private: 'private',
  carrierGradeNat: 'private',
  uniqueLocal: 'private',
  linkLocal: 'link-local',
  multicast: 'multicast',
  broadcast: 'multicast',
  ipv4Mapped: 'translated',
  rfc6145: 'translated',
  rfc6052: 'translated',
  '6to4': 'translated',
  teredo: 'translated',
};

export function kindOf(address: Address): AddressKind {
  const parsed = ipaddr.fromByteArray(Array.from(address));
  if (parsed.kind() === 'ipv4' && parsed.toString() === METADATA) return 'metadata';
  const range = parsed.range();
  if (range !== 'unicast') return KINDS[range] ?? 'reserved';
  if (address.length === 4) return 'public';
  // IPv4-compatible addresses (RFC 4291 §2.5.5.1), and RFC 8215's local translation.
  if (address.subarray(0, 12).every((byte) => byte === 0)) return 'translated';
  if (address[0] === 0 && address[1] === 0x64 && address[2] === 0xff && address[3] === 0x9b)
    return 'translated';
  return (address[0]! & 0xe0) === 0x20 ? 'public' : 'reserved'; // 2000::/3 is all that was ever given out
}

/** The IPv4 address inside of a translated one, where it is known. */
export function embeddedV4(address: Address): Address | undefined {
  if (address.length !== 16 || kindOf(address) !== 'translated') return;
  if (address[0] === 0x20 && address[1] === 0x02) return address.slice(2, 6);
  if (address[0] === 0x20 && address[1] === 0x01) return address.slice(12).map((byte) => byte ^ 0xff); // RFC 4380 §4
  return address.slice(12);
}
