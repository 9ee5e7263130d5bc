/**
 * Frames as a guest makes and reads them: written apart from the code under test, so that each checks the other. Sums are
 * computed with BigInt-free but plain loops; nothing here is fast on purpose.
 */
import type { VnetHeader } from '../../../src/devices/net/backend.js';

export const ip = (text: string): Uint8Array => {
  if (!text.includes(':')) return Uint8Array.from(text.split('.').map(Number));
  const [head, tail] = text.split('::') as [string, string | undefined];
  const words = (part: string): number[] =>
    part ? part.split(':').map((word) => Number.parseInt(word, 16)) : [];
  const [left, right] = [words(head), words(tail ?? '')];
  const all = [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
  return Uint8Array.from(all.flatMap((word) => [word >> 8, word & 0xff]));
};

/** The Internet checksum over all parts as one string of bytes. */
export function sum16(...parts: Uint8Array[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes[at]! * 256 + (bytes[at + 1] ?? 0);
  while (sum >= 0x10000) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum ^ 0xffff;
}

const u16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff];
const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)];

function pseudo(from: Uint8Array, to: Uint8Array, protocol: number, length: number): Uint8Array {
  if (from.length === 4) return Uint8Array.from([...from, ...to, 0, protocol, ...u16(length)]);
  return Uint8Array.from([...from, ...to, ...u32(length), 0, 0, 0, protocol]);
}

export interface Ends {
  readonly fromMac: Uint8Array;
  readonly toMac: Uint8Array;
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

/** A frame with an IP packet. @param more fields of the IP header that differ from the usual */
export function ipFrame(
  ends: Ends,
  protocol: number,
  payload: Uint8Array,
  more: { ttl?: number; id?: number; fragment?: number } = {},
): Uint8Array {
  const { fromMac, toMac, from, to } = ends;
  if (from.length === 4) {
    const header = Uint8Array.from([
      ...[0x45, 0, ...u16(20 + payload.length), ...u16(more.id ?? 7), ...u16(more.fragment ?? 0)],
      ...[more.ttl ?? 64, protocol, 0, 0, ...from, ...to],
    ]);
    header.set(u16(sum16(header)), 10);
    return Uint8Array.from(Buffer.concat([toMac, fromMac, Uint8Array.of(8, 0), header, payload]));
  }
  const header = Uint8Array.from([
    0x60,
    0,
    0,
    0,
    ...u16(payload.length),
    protocol,
    more.ttl ?? 64,
    ...from,
    ...to,
  ]);
  return Uint8Array.from(Buffer.concat([toMac, fromMac, Uint8Array.of(0x86, 0xdd), header, payload]));
}

export interface TcpFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack?: number;
  readonly flags: string; // of 'SAFRP'
  readonly window?: number;
  readonly options?: number[];
  readonly data?: Uint8Array;
}

const FLAGS: Readonly<Record<string, number>> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32 };

export function tcpFrame(ends: Ends, fields: TcpFields): Uint8Array {
  const options = [...(fields.options ?? [])];
  while (options.length % 4 !== 0) options.push(1);
  const flags = [...fields.flags].reduce((all, letter) => all | FLAGS[letter]!, 0);
  const header = Uint8Array.from([
    ...u16(fields.sourcePort),
    ...u16(fields.destinationPort),
    ...u32(fields.seq >>> 0),
    ...u32((fields.ack ?? 0) >>> 0),
    ...[(5 + options.length / 4) << 4, flags, ...u16(fields.window ?? 65535), 0, 0, 0, 0, ...options],
  ]);
  const data = fields.data ?? new Uint8Array(0);
  header.set(u16(sum16(pseudo(ends.from, ends.to, 6, header.length + data.length), header, data)), 16);
  return ipFrame(ends, 6, Uint8Array.from(Buffer.concat([header, data])));
}

export function udpFrame(
  ends: Ends,
  sourcePort: number,
  destinationPort: number,
  data: Uint8Array,
): Uint8Array {
  const header = Uint8Array.from([
    ...u16(sourcePort),
    ...u16(destinationPort),
    ...u16(8 + data.length),
    0,
    0,
  ]);
  header.set(u16(sum16(pseudo(ends.from, ends.to, 17, 8 + data.length), header, data) || 0xffff), 6);
  return ipFrame(ends, 17, Uint8Array.from(Buffer.concat([header, data])));
}

/** An ICMP message of either version. */
export function icmpFrame(ends: Ends, type: number, code: number, rest: Uint8Array, ttl = 64): Uint8Array {
  const message = Uint8Array.from([type, code, 0, 0, ...rest]);
  const v6 = ends.from.length === 16;
  const before = v6 ? pseudo(ends.from, ends.to, 58, message.length) : new Uint8Array(0);
  message.set(u16(sum16(before, message)), 2);
  return ipFrame(ends, v6 ? 58 : 1, message, { ttl });
}

/** What a guest sees in a frame; throws where a stack would drop it. */
export interface Seen {
  readonly toMac: Uint8Array;
  readonly type: number;
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly protocol: number;
  readonly ttl: number;
  readonly payload: Uint8Array;
  /** Of IPv4: flags and offset. */
  readonly fragment: number;
  readonly id: number;
}

export function readFrame(frame: Uint8Array): Seen {
  const type = frame[12]! * 256 + frame[13]!;
  const packet = frame.subarray(14);
  const toMac = frame.slice(0, 6);
  if (type === 0x0806) {
    return {
      toMac,
      type,
      from: packet.slice(14, 18),
      to: packet.slice(24, 28),
      protocol: 0,
      ttl: 0,
      payload: packet,
      fragment: 0,
      id: 0,
    };
  }
  const from = type === 0x0800 ? packet.slice(12, 16) : packet.slice(8, 24);
  const to = type === 0x0800 ? packet.slice(16, 20) : packet.slice(24, 40);
  if (type === 0x0800) {
    const [header, length] = [(packet[0]! & 15) * 4, packet[2]! * 256 + packet[3]!];
    if (sum16(packet.subarray(0, header)) !== 0) throw new Error('IPv4 header checksum');
    if (length !== packet.length) throw new Error(`IPv4 length ${length} of ${packet.length}`);
    const fragment = packet[6]! * 256 + packet[7]!;
    const payload = packet.subarray(header);
    const seen = {
      toMac,
      type,
      from,
      to,
      protocol: packet[9]!,
      ttl: packet[8]!,
      payload,
      fragment,
      id: packet[4]! * 256 + packet[5]!,
    };
    if ((fragment & 0x3fff) === 0) checkSum(seen);
    return seen;
  }
  if (packet[4]! * 256 + packet[5]! !== packet.length - 40) throw new Error('IPv6 length');
  const seen = {
    toMac,
    type,
    from,
    to,
    protocol: packet[6]!,
    ttl: packet[7]!,
    payload: packet.subarray(40),
    fragment: 0,
    id: 0,
  };
  if (seen.protocol !== 44) checkSum(seen);
  return seen;
}

function checkSum({ from, to, protocol, payload }: Seen): void {
  const bare = protocol === 1;
  if (protocol === 17 && payload[6] === 0 && payload[7] === 0) return;
  const before = bare ? new Uint8Array(0) : pseudo(from, to, protocol, payload.length);
  if (sum16(before, payload) !== 0) throw new Error(`checksum of protocol ${protocol}`);
}

/** Does what a card does with a header (virtio 1.2 §5.1.6.2): fills in the checksum, cuts TCP. @returns complete frames */
export function completeFrame(frame: Uint8Array, header: VnetHeader | undefined): Uint8Array[] {
  const whole = frame.slice();
  if (!header) return [whole];
  const { csumStart, csumOffset, flags, gsoType, gsoSize } = header;
  if (gsoType === 0) {
    if (flags & 1) whole.set(u16(sum16(whole.subarray(csumStart))), csumStart + csumOffset);
    return [whole];
  }
  if (!(flags & 1) || gsoSize === 0) throw new Error('a frame to be cut without checksum or size');
  const v6 = gsoType === 4;
  const data = csumStart + (whole[csumStart + 12]! >> 4) * 4;
  const view = new DataView(whole.buffer);
  const frames: Uint8Array[] = [];
  for (let at = data; at < whole.length; at += gsoSize) {
    const part = whole.subarray(at, at + gsoSize);
    const headers = whole.slice(0, data);
    const last = at + gsoSize >= whole.length;
    const tcp = headers.subarray(csumStart);
    tcp.set(u32((view.getUint32(csumStart + 4) + at - data) >>> 0), 4);
    if (!last) tcp[13] = tcp[13]! & ~9; // FIN and PSH go with the last
    const ends = {
      fromMac: headers.slice(6, 12),
      toMac: headers.slice(0, 6),
      from: new Uint8Array(),
      to: new Uint8Array(),
    };
    const from = v6 ? headers.slice(22, 38) : headers.slice(26, 30);
    const to = v6 ? headers.slice(38, 54) : headers.slice(30, 34);
    tcp.set([0, 0], 16);
    tcp.set(u16(sum16(pseudo(from, to, 6, tcp.length + part.length), tcp, part)), 16);
    frames.push(ipFrame({ ...ends, from, to }, 6, Uint8Array.from(Buffer.concat([tcp, part]))));
  }
  return frames;
}
