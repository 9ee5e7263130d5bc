/** A packet of either version of IP, its header read and checked. */
import type { Address } from './address.js';

/** Numbers of protocols (IANA). */
export const PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58 } as const;

export interface IpPacket {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  /** TTL or hop limit. */
  readonly hops: number;
  /** What the protocol's number tells of; a part of the frame. */
  readonly payload: Uint8Array;
  /** The packet from its first byte, for errors that quote it. */
  readonly raw: Uint8Array;
  /** The guest left the checksum of TCP or UDP to be done: it cannot be checked, and need not be. */
  readonly partial: boolean;
}

/** A part of a packet: what reassembly needs of it. */
export interface IpFragment extends IpPacket {
  readonly id: number;
  /** Where `payload` belongs, bytes. */
  readonly offset: number;
  readonly more: boolean;
}

export const isFragment = (packet: IpPacket): packet is IpFragment => 'more' in packet;
