/** TCP in IP in Ethernet for tests: made and checked by the RFCs, with nothing of src/devices/net. */
import type { VnetHeader } from '../../src/devices/net/backend.js';

export interface TcpOptions {
  readonly version?: 4 | 6;
  readonly data: Uint8Array;
  readonly sequence?: number;
  readonly flags?: number;
  readonly id?: number;
  readonly tagged?: boolean;
  /** Bytes of options behind the TCP header, a multiple of 4. */
  readonly options?: number;
}

/** Headers, without checksums but the pseudo-header's, as a stack leaves them for its card. */
export function tcpFrame(options: TcpOptions): { frame: Uint8Array; header: VnetHeader; headers: number } {
  const {
    version = 4,
    data,
    sequence = 1000,
    flags = 0x18,
    id = 7,
    tagged = false,
    options: more = 0,
  } = options;
  const ethernet = Buffer.from([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, ...(tagged ? [0x81, 0, 0, 5] : [])]);
  const type = Buffer.from(version === 4 ? [8, 0] : [0x86, 0xdd]);
  const tcpLength = 20 + more + data.length;
  const ip = Buffer.alloc(version === 4 ? 20 : 40);
  if (version === 4) {
    ip[0] = 0x45;
    ip.writeUInt16BE((20 + tcpLength) & 0xffff, 2);
    ip.writeUInt16BE(id, 4);
    ip.set([0x40, 0, 64, 6], 6);
    ip.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
    ip.writeUInt16BE(onesComplement(ip), 10);
  } else {
    ip[0] = 0x60;
    ip.writeUInt16BE(tcpLength & 0xffff, 4);
    ip.set([6, 64], 6);
    ip.set([0xfd, 0, 1], 8);
    ip.set([0xfd, 0, 2], 24);
  }
  const tcp = Buffer.alloc(20 + more, 1);
  tcp.writeUInt16BE(1234, 0);
  tcp.writeUInt16BE(80, 2);
  tcp.writeUInt32BE(sequence, 4);
  tcp.writeUInt32BE(99, 8);
  tcp[12] = ((20 + more) / 4) << 4;
  tcp[13] = flags;
  tcp.writeUInt16BE(0x2000, 14);
  tcp.writeUInt16BE(0, 18);
  tcp.writeUInt16BE(~onesComplement(pseudo(ip, version, tcpLength)) & 0xffff, 16);
  const frame = Uint8Array.from(Buffer.concat([ethernet, type, ip, tcp, data]));
  const csumStart = ethernet.length + 2 + ip.length;
  const headers = csumStart + tcp.length;
  return {
    frame,
    headers,
    header: { flags: 1, gsoType: 0, hdrLen: headers, gsoSize: 0, csumStart, csumOffset: 16 },
  };
}

const pseudo = (ip: Buffer, version: 4 | 6, length: number): Buffer => {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(length, 0);
  tail[7] = 6;
  return Buffer.concat([version === 4 ? ip.subarray(12, 20) : ip.subarray(8, 40), tail]);
};

/** RFC 1071 by way of arbitrary precision. */
function onesComplement(bytes: Uint8Array): number {
  let sum = 0n;
  for (let at = 0; at < bytes.length; at += 2) sum += BigInt((bytes[at]! << 8) | (bytes[at + 1] ?? 0));
  while (sum >> 16n) sum = (sum & 0xffffn) + (sum >> 16n);
  return Number(~sum & 0xffffn);
}

export interface TcpPacket {
  readonly version: 4 | 6;
  readonly sequence: number;
  readonly flags: number;
  readonly id: number;
  readonly data: Uint8Array;
}

/** Takes a complete packet apart. @throws Error when a length or a checksum is wrong */
export function readTcp(frame: Uint8Array): TcpPacket {
  const bytes = Buffer.from(frame);
  const at = bytes.readUInt16BE(12) === 0x8100 ? 18 : 14;
  const version = bytes.readUInt16BE(at - 2) === 0x0800 ? 4 : 6;
  const ip = bytes.subarray(at, at + (version === 4 ? 20 : 40));
  const tcp = bytes.subarray(at + ip.length);
  const length = version === 4 ? ip.readUInt16BE(2) - 20 : ip.readUInt16BE(4);
  if (length !== tcp.length) throw new Error(`length ${length} of ${tcp.length}`);
  if (version === 4 && onesComplement(ip) !== 0) throw new Error('the IP checksum is wrong');
  if (onesComplement(Buffer.concat([pseudo(ip, version, tcp.length), tcp])) !== 0)
    throw new Error('the TCP checksum is wrong');
  return {
    version,
    sequence: tcp.readUInt32BE(4),
    flags: tcp[13]!,
    id: version === 4 ? ip.readUInt16BE(4) : 0,
    data: Uint8Array.from(tcp.subarray(4 * (tcp[12]! >> 4))),
  };
}
