/**
 * Packets in the buffers of the rx and tx queues (virtio 1.2 §5.10.6). A driver may cut a packet into descriptors wherever it likes
 * (§2.7.4.1). The header is copied out at once: the guest can change its memory between two looks.
 * Runs on: main.
 */
import { GuestFault } from '../../base/errors.js';
import type { Chain } from '../../virtio/queue.js';
import { HEADER, TYPE } from './protocol.js';

/** A header as it came, every field read once. */
export interface PacketHeader {
  readonly srcCid: number;
  readonly dstCid: number;
  readonly srcPort: number;
  readonly dstPort: number;
  /** Bytes of payload. */
  readonly length: number;
  readonly type: number;
  readonly op: number;
  readonly flags: number;
  readonly bufAlloc: number;
  readonly fwdCnt: number;
}

const scratch = new Uint8Array(HEADER.SIZE);
const view = new DataView(scratch.buffer);

/** @throws GuestFault when the chain is too short for a header, or for the payload that the header says it has */
export function readHeader({ readable }: Chain): PacketHeader {
  let filled = 0;
  let total = 0;
  for (const piece of readable) {
    total += piece.length;
    if (filled === HEADER.SIZE) continue;
    const part = within(piece, 0, HEADER.SIZE - filled);
    scratch.set(part, filled);
    filled += part.length;
  }
  if (filled < HEADER.SIZE) throw new GuestFault(`packet of ${filled} bytes`, 'virtio 1.2 §5.10.6');
  const length = view.getUint32(HEADER.len, true);
  if (length > total - HEADER.SIZE)
    throw new GuestFault(`packet of ${total} bytes that says it carries ${length}`, 'virtio 1.2 §5.10.6');
  return {
    srcCid: cid(HEADER.src_cid),
    dstCid: cid(HEADER.dst_cid),
    srcPort: view.getUint32(HEADER.src_port, true),
    dstPort: view.getUint32(HEADER.dst_port, true),
    length,
    type: view.getUint16(HEADER.type, true),
    op: view.getUint16(HEADER.op, true),
    flags: view.getUint32(HEADER.flags, true),
    bufAlloc: view.getUint32(HEADER.buf_alloc, true),
    fwdCnt: view.getUint32(HEADER.fwd_cnt, true),
  };
}

/** §5.10.4: the upper half is reserved; a number that nobody has stands for a CID that uses it. */
function cid(at: number): number {
  return view.getUint32(at + 4, true) === 0 ? view.getUint32(at, true) : -1;
}

/** The pieces of a packet's payload: guest memory itself. */
export function* payloadOf({ readable }: Chain, length: number): Generator<Uint8Array> {
  let skip: number = HEADER.SIZE;
  let left = length;
  for (const piece of readable) {
    const from = Math.min(skip, piece.length);
    skip -= from;
    const used = within(piece, from, left);
    left -= used.length;
    if (used.length > 0) yield used;
  }
}

/** At most `most` bytes of a piece. Drivers mostly have a header and its payload in pieces of their own: no new view then. */
const within = (piece: Uint8Array, from: number, most: number): Uint8Array =>
  from === 0 && piece.length <= most ? piece : piece.subarray(from, from + most);

/** What a packet to the guest says, beside its addresses. */
export interface Outgoing {
  readonly srcCid: number;
  readonly dstCid: number;
  readonly srcPort: number;
  readonly dstPort: number;
  /** STREAM unless given. */
  readonly type?: number;
  readonly op: number;
  readonly flags?: number;
  readonly bufAlloc?: number;
  readonly fwdCnt?: number;
}

/** Room for payload in a buffer of the rx queue, bytes. @throws GuestFault when there is not even room for a header */
export function roomIn({ writable }: Chain): number {
  let total = 0;
  for (const { length } of writable) total += length;
  if (total < HEADER.SIZE) throw new GuestFault(`rx buffer of ${total} bytes`, 'virtio 1.2 §5.10.6');
  return total - HEADER.SIZE;
}

/** Fills in the header. @param length bytes of payload @returns bytes of the packet */
export function writeHeader({ writable }: Chain, packet: Outgoing, length = 0): number {
  view.setUint32(HEADER.src_cid, packet.srcCid, true);
  view.setUint32(HEADER.src_cid + 4, 0, true);
  view.setUint32(HEADER.dst_cid, packet.dstCid, true);
  view.setUint32(HEADER.dst_cid + 4, 0, true);
  view.setUint32(HEADER.src_port, packet.srcPort, true);
  view.setUint32(HEADER.dst_port, packet.dstPort, true);
  view.setUint32(HEADER.len, length, true);
  view.setUint16(HEADER.type, packet.type ?? TYPE.STREAM, true);
  view.setUint16(HEADER.op, packet.op, true);
  view.setUint32(HEADER.flags, packet.flags ?? 0, true);
  view.setUint32(HEADER.buf_alloc, packet.bufAlloc ?? 0, true);
  view.setUint32(HEADER.fwd_cnt, packet.fwdCnt ?? 0, true);
  let written = 0;
  for (const piece of writable) {
    const part =
      written === 0 && piece.length >= HEADER.SIZE
        ? scratch
        : scratch.subarray(written, written + piece.length);
    piece.set(part);
    written += part.length;
    if (written === HEADER.SIZE) break;
  }
  return HEADER.SIZE + length;
}

/** Lets `pull` fill the payload's place, at most `limit` bytes. @returns bytes it wrote */
export function fillPayload({ writable }: Chain, limit: number, pull: (into: Uint8Array) => number): number {
  let skip: number = HEADER.SIZE;
  let filled = 0;
  for (const piece of writable) {
    const from = Math.min(skip, piece.length);
    skip -= from;
    if (from === piece.length) continue;
    const place = within(piece, from, limit - filled);
    if (place.length === 0) break;
    const count = pull(place);
    filled += count;
    if (count < place.length) break;
  }
  return filled;
}
