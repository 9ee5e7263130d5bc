/**
 * Frames that leave work to their receiver (virtio 1.2 §5.1.6.2): whether what their header says makes sense, and doing the work
 * where the receiver cannot: checksums, and cutting TCP data into packets.
 *
 * Headers and frames come from guests. They are copies here; nothing is read twice from guest memory.
 * Runs on: main.
 */
import type { VnetHeader } from './backend.js';
import { PLAIN } from './header.js';
import { ETHERNET, F, GSO, HDR_F, VLAN_TAG } from './protocol.js';

export interface Frame {
  readonly bytes: Uint8Array;
  readonly header: VnetHeader;
}

const ETHERTYPE = { VLAN: 0x8100, IPV4: 0x0800, IPV6: 0x86dd } as const;
const TCP = 6;
/** Offsets in an IPv4, an IPv6 and a TCP header (RFC 791, 8200, 9293). */
const IPV4 = { LENGTH: 2, ID: 4, PROTOCOL: 9, CHECKSUM: 10, SOURCE: 12, MIN: 20 } as const;
const IPV6 = { LENGTH: 4, NEXT: 6, SOURCE: 8, SIZE: 40 } as const;
const TCP_AT = { SEQUENCE: 4, OFFSET: 12, FLAGS: 13, CHECKSUM: 16, MIN: 20 } as const;
const FIN_PSH = 0x09;
const CWR = 0x80;

const u16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
const setU16 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
};

/** Where a TCP frame's headers lie. */
interface Layout {
  readonly ip: number;
  readonly version: 4 | 6;
  readonly tcp: number;
  /** Where the data begins. */
  readonly data: number;
}

/** @returns undefined for what is no TCP in IP, or goes on beyond the frame; IPv6 without extension headers only */
function layoutOf(bytes: Uint8Array): Layout | undefined {
  const tagged = u16(bytes, 12) === ETHERTYPE.VLAN;
  const ip = ETHERNET + (tagged ? VLAN_TAG : 0);
  const type = u16(bytes, ip - 2);
  let tcp: number;
  if (type === ETHERTYPE.IPV4) {
    tcp = ip + 4 * (bytes[ip]! & 15);
    if (tcp < ip + IPV4.MIN || bytes[ip + IPV4.PROTOCOL] !== TCP) return undefined;
  } else if (type === ETHERTYPE.IPV6) {
    tcp = ip + IPV6.SIZE;
    if (bytes[ip + IPV6.NEXT] !== TCP) return undefined;
  } else return undefined;
  const size = 4 * (bytes[tcp + TCP_AT.OFFSET]! >> 4);
  const data = tcp + size;
  // Also where something above was read behind the end.
  if (!(size >= TCP_AT.MIN && data < bytes.length)) return undefined;
  return { ip, version: type === ETHERTYPE.IPV4 ? 4 : 6, tcp, data };
}

/**
 * The header of a frame as its receiver may trust it: nothing in it points outside the frame.
 * @returns undefined when it makes no sense, or is of a kind that was never offered
 */
export function soundHeader({ bytes, header }: Frame): VnetHeader | undefined {
  const { flags, gsoType, gsoSize, csumStart, csumOffset } = header;
  if (!(flags & HDR_F.NEEDS_CSUM)) return gsoType === GSO.NONE ? PLAIN : undefined;
  if (csumStart < ETHERNET || csumStart + csumOffset + 2 > bytes.length) return undefined;
  const plain = { ...PLAIN, flags: HDR_F.NEEDS_CSUM, csumStart, csumOffset };
  if (gsoType === GSO.NONE) return plain;
  const layout = layoutOf(bytes);
  const wanted = layout?.version === 4 ? GSO.TCPV4 : GSO.TCPV6;
  if (!layout || (gsoType & ~GSO.ECN) !== wanted || gsoSize === 0) return undefined;
  if (csumStart !== layout.tcp || csumOffset !== TCP_AT.CHECKSUM) return undefined;
  // One packet needs no cutting.
  if (bytes.length - layout.data <= gsoSize) return plain;
  return { ...plain, gsoType, gsoSize, hdrLen: layout.data };
}

/** Whether a receiver with these offloads takes a frame with this header as it is. */
export function takes(offloads: bigint, { flags, gsoType }: VnetHeader): boolean {
  if (flags & HDR_F.NEEDS_CSUM && !(offloads & F.GUEST_CSUM)) return false;
  if (gsoType & GSO.ECN && !(offloads & F.GUEST_ECN)) return false;
  const kind = gsoType & ~GSO.ECN;
  if (kind === GSO.NONE) return true;
  return (offloads & (kind === GSO.TCPV4 ? F.GUEST_TSO4 : F.GUEST_TSO6)) !== 0n;
}

/** Does all that a frame's header says. @param frame with a sound header; its bytes may be changed @returns complete frames */
export function finish({ bytes, header }: Frame): Frame[] {
  if (!(header.flags & HDR_F.NEEDS_CSUM)) return [{ bytes, header: PLAIN }];
  if (header.gsoType !== GSO.NONE) return cut(bytes, header.gsoSize);
  const at = header.csumStart + header.csumOffset;
  // The field holds the pseudo-header's sum (§5.1.6.2), so summing it up with the rest gives the whole.
  const sum = checksum(bytes, header.csumStart, bytes.length);
  // For UDP 0 means "no checksum" (RFC 768); for TCP the two are equal.
  setU16(bytes, at, sum || 0xffff);
  return [{ bytes, header: PLAIN }];
}

function cut(bytes: Uint8Array, gsoSize: number): Frame[] {
  const { ip, version, tcp, data } = layoutOf(bytes)!;
  const sequence = u16(bytes, tcp + TCP_AT.SEQUENCE) * 2 ** 16 + u16(bytes, tcp + TCP_AT.SEQUENCE + 2);
  const flags = bytes[tcp + TCP_AT.FLAGS]!;
  const id = u16(bytes, ip + IPV4.ID);
  const frames: Frame[] = [];
  for (let at = data; at < bytes.length; at += gsoSize) {
    const end = Math.min(at + gsoSize, bytes.length);
    const packet = new Uint8Array(data + end - at);
    packet.set(bytes.subarray(0, data));
    packet.set(bytes.subarray(at, end), data);
    if (version === 4) {
      setU16(packet, ip + IPV4.LENGTH, packet.length - ip);
      setU16(packet, ip + IPV4.ID, (id + frames.length) & 0xffff);
      setU16(packet, ip + IPV4.CHECKSUM, 0);
      setU16(packet, ip + IPV4.CHECKSUM, checksum(packet, ip, tcp));
    } else setU16(packet, ip + IPV6.LENGTH, packet.length - tcp);
    const own = (sequence + at - data) % 2 ** 32;
    setU16(packet, tcp + TCP_AT.SEQUENCE, Math.floor(own / 2 ** 16));
    setU16(packet, tcp + TCP_AT.SEQUENCE + 2, own % 2 ** 16);
    // FIN and PSH belong to the last packet, CWR to the first (RFC 3168, section 6.1.2).
    const last = end === bytes.length ? 0 : FIN_PSH;
    packet[tcp + TCP_AT.FLAGS] = flags & ~last & ~(at === data ? 0 : CWR);
    setU16(packet, tcp + TCP_AT.CHECKSUM, 0);
    const [source, size] = version === 4 ? [IPV4.SOURCE, 8] : [IPV6.SOURCE, 32];
    const pseudo = addUp(packet, ip + source, ip + source + size) + TCP + packet.length - tcp;
    setU16(packet, tcp + TCP_AT.CHECKSUM, checksum(packet, tcp, packet.length, pseudo));
    frames.push({ bytes: packet, header: PLAIN });
  }
  return frames;
}

/** The Internet checksum (RFC 1071) of [start, end). */
export function checksum(bytes: Uint8Array, start: number, end: number, initial = 0): number {
  let sum = initial + addUp(bytes, start, end);
  while (sum > 0xffff) sum = (sum % 0x1_0000) + Math.floor(sum / 0x1_0000);
  return ~sum & 0xffff;
}

/** 64 KiB of words stay below 2^31. */
function addUp(bytes: Uint8Array, start: number, end: number): number {
  let sum = 0;
  const even = end - ((end - start) & 1);
  for (let at = start; at < even; at += 2) sum += (bytes[at]! << 8) | bytes[at + 1]!;
  return even < end ? sum + (bytes[even]! << 8) : sum;
}
