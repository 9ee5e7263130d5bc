/** IP addresses as the wire has them, 4 or 16 bytes, and as people and sockets write them. Runs on: main. */
import ipaddr from 'ipaddr.js';

/** 4 bytes of IPv4 or 16 of IPv6. */
export type Address = Uint8Array;

export const isV6 = (address: Address): boolean => address.length === 16;

/** `10.0.2.2`, `fe80::2` */
export function formatAddress(address: Address): string {
  if (address.length === 4) return address.join('.');
  return ipaddr.fromByteArray(Array.from(address)).toString();
}

/** @returns undefined for what is no address in the usual spelling (no octal, no short forms, no zone) */
export function parseAddress(text: string): Address | undefined {
  if (text.includes(':') ? !ipaddr.IPv6.isValid(text) : !ipaddr.IPv4.isValidFourPartDecimal(text)) return;
  const parsed = ipaddr.parse(text);
  if (parsed.kind() === 'ipv6' && (parsed as ipaddr.IPv6).zoneId) return;
  return Uint8Array.from(parsed.toByteArray());
}

/** `10.0.2.15:80`, `[fd00::1]:80` */
export const formatEndpoint = (address: Address, port: number): string =>
  isV6(address) ? `[${formatAddress(address)}]:${port}` : `${formatAddress(address)}:${port}`;

/** 224.0.0.0/4, 255.255.255.255 and ff00::/8: not one machine's address. */
export function isMulticast(address: Address): boolean {
  if (isV6(address)) return address[0] === 0xff;
  return address[0]! >>> 4 === 14 || address.every((byte) => byte === 255);
}

/** One key for a pair of endpoints: equal exactly for equal ones, IPv4 and IPv6 differ in length. */
export function flowKey(guest: Address, guestPort: number, remote: Address, remotePort: number): string {
  let key = String.fromCharCode(guestPort, remotePort);
  for (const address of [guest, remote]) {
    for (let at = 0; at < address.length; at += 2) {
      key += String.fromCharCode((address[at]! << 8) | address[at + 1]!);
    }
  }
  return key;
}
