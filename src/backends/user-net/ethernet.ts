/** Ethernet frames: 14 bytes of header, then the packet. Runs on: main. */

/** Bytes of a header: destination, source, type. */
export const ETHERNET_HEADER = 14;

/** Types of what a frame carries, IEEE 802 numbers. */
export const ETHER_TYPE = { IPV4: 0x0800, ARP: 0x0806, IPV6: 0x86dd } as const;

export type Mac = Uint8Array;

export const BROADCAST: Mac = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff);

/** Whether it is a group's address: broadcast and multicast. */
export const isGroup = (mac: Mac): boolean => (mac[0]! & 1) === 1;

export function writeEthernet(frame: Uint8Array, destination: Mac, source: Mac, type: number): void {
  frame.set(destination, 0);
  frame.set(source, 6);
  frame[12] = type >>> 8;
  frame[13] = type & 0xff;
}

/** `02:54:56:00:00:01` */
export const formatMac = (mac: Mac): string =>
  Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join(':');

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index += 1) if (a[index] !== b[index]) return false;
  return true;
};

/** A group's hardware address for an IPv6 group (RFC 2464 §7). */
export const multicastMac = (group: Uint8Array): Mac =>
  Uint8Array.of(0x33, 0x33, group[12]!, group[13]!, group[14]!, group[15]!);
