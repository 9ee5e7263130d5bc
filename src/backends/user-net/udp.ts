/** UDP datagrams (RFC 768). Runs on: main. */
import { type Address, isV6 } from './address.js';
import { addWords, finish, pseudoHeader, setU16 } from './checksum.js';
import type { IpOutput } from './ip-output.js';
import { type IpPacket, PROTOCOL } from './ip-packet.js';

const HEADER = 8;
/** The most that fits into one datagram over IPv4. */
export const MAX_DATAGRAM = 65_507;

export interface Datagram {
  readonly source: Address;
  readonly destination: Address;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** A part of the frame. */
  readonly data: Uint8Array;
  readonly packet: IpPacket;
}

/** @returns undefined for a datagram that is cut short or damaged */
export function parseUdp(packet: IpPacket): Datagram | undefined {
  const { payload, source, destination } = packet;
  if (payload.length < HEADER) return;
  const length = (payload[4]! << 8) | payload[5]!;
  if (length < HEADER || length > payload.length) return;
  const checksum = (payload[6]! << 8) | payload[7]!;
  // None is allowed over IPv4 alone (RFC 8200 §8.1).
  if (checksum === 0 && isV6(source)) return;
  if (checksum !== 0 && !packet.partial) {
    const sum = pseudoHeader(source, destination, PROTOCOL.UDP, length);
    if (finish(addWords(payload, 0, length, sum)) !== 0) return;
  }
  return {
    source,
    destination,
    sourcePort: (payload[0]! << 8) | payload[1]!,
    destinationPort: (payload[2]! << 8) | payload[3]!,
    data: payload.subarray(HEADER, length),
    packet,
  };
}

export interface Reply {
  readonly source: Address;
  readonly sourcePort: number;
  /** The guest. */
  readonly destination: Address;
  readonly destinationPort: number;
  readonly data: Uint8Array;
  readonly mac?: Uint8Array | undefined;
}

/** Sends a datagram to the guest. @returns false when it had no room, or the datagram is too large */
export function sendUdp(output: IpOutput, reply: Reply): boolean {
  const { source, destination, sourcePort, destinationPort, data, mac } = reply;
  const length = HEADER + data.length;
  if (data.length > MAX_DATAGRAM) return false;
  const area = output.area(destination);
  setU16(area, 0, sourcePort);
  setU16(area, 2, destinationPort);
  setU16(area, 4, length);
  setU16(area, 6, 0);
  area.set(data, HEADER);
  const sum = pseudoHeader(source, destination, PROTOCOL.UDP, length);
  setU16(area, 6, finish(addWords(area, 0, length, sum)) || 0xffff); // 0 would mean that there is none
  return output.send({ source, destination, protocol: PROTOCOL.UDP, length, mac });
}
