/**
 * TCP segments as bytes (RFC 9293 §3.1), with the options that are used here: MSS, window scale (RFC 7323 §2), and selective
 * acknowledgements (RFC 2018) in one direction: the guest is told what came behind a gap. What it tells so is not read: towards the guest
 * nothing is lost but by a guest that has no room, and that is known here at once (sender.ts).
 *
 * Timestamps (RFC 7323 §3) are not offered. They are for paths with many round trips under way and for segments from before the sequence
 * numbers wrapped; here a round trip takes a fraction of a millisecond, no frame is older than the last kick, and 12 bytes and two
 * comparisons in each segment would buy nothing.
 * Runs on: main.
 */
import { addWords, finish, pseudoHeader } from '../checksum.js';
import { type IpPacket, PROTOCOL } from '../ip-packet.js';

/** Bytes of a header without options. */
export const TCP_HEADER = 20;

export const FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;
const OPTION = { END: 0, NOP: 1, MSS: 2, WINDOW_SCALE: 3, SACK_PERMITTED: 4, SACK: 5 } as const;
/** What fits into a header's 40 bytes of options (RFC 2018 §3). */
export const MAX_SACK_BLOCKS = 4;

/** Data that has come, behind a gap: from its first byte to the one behind its last. */
export interface SackBlock {
  readonly left: number;
  readonly right: number;
}

/** RFC 9293 §3.7.1: what to assume without the option. */
export const DEFAULT_MSS = { v4: 536, v6: 1220 } as const;
/** RFC 7323 §2.3. */
const MAX_SHIFT = 14;

/** What the guest sent. */
export interface Segment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  /** As in the header, not scaled. */
  readonly window: number;
  /** Only with SYN, and only if given. */
  readonly mss: number | undefined;
  readonly windowScale: number | undefined;
  readonly sackPermitted: boolean;
  readonly data: Uint8Array;
}

/** @returns undefined for a segment that is cut short or damaged */
export function parseSegment({ payload, source, destination, partial }: IpPacket): Segment | undefined {
  if (payload.length < TCP_HEADER) return;
  const header = (payload[12]! >>> 4) * 4;
  if (header < TCP_HEADER || header > payload.length) return;
  if (!partial) {
    const sum = pseudoHeader(source, destination, PROTOCOL.TCP, payload.length);
    if (finish(addWords(payload, 0, payload.length, sum)) !== 0) return;
  }
  const view = new DataView(payload.buffer, payload.byteOffset, TCP_HEADER);
  const flags = payload[13]!;
  const options = flags & FLAG.SYN ? parseOptions(payload.subarray(TCP_HEADER, header)) : undefined;
  return {
    sourcePort: view.getUint16(0),
    destinationPort: view.getUint16(2),
    seq: view.getUint32(4),
    ack: view.getUint32(8),
    flags,
    window: view.getUint16(14),
    mss: options?.mss,
    windowScale: options?.windowScale,
    sackPermitted: options?.sackPermitted ?? false,
    data: payload.subarray(header),
  };
}

interface SynOptions {
  mss?: number;
  windowScale?: number;
  sackPermitted?: boolean;
}

function parseOptions(bytes: Uint8Array): SynOptions {
  const found: SynOptions = {};
  for (let at = 0; at < bytes.length; ) {
    const kind = bytes[at]!;
    if (kind === OPTION.END) break;
    if (kind === OPTION.NOP) {
      at += 1;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    if (length < 2 || at + length > bytes.length) break;
    if (kind === OPTION.MSS && length === 4) found.mss = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    if (kind === OPTION.WINDOW_SCALE && length === 3) found.windowScale = Math.min(bytes[at + 2]!, MAX_SHIFT);
    if (kind === OPTION.SACK_PERMITTED && length === 2) found.sackPermitted = true;
    at += length;
  }
  return found;
}

/** What is sent to the guest. Data is in place already, behind the header. */
export interface SegmentHeader {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  readonly mss?: number | undefined;
  readonly windowScale?: number | undefined;
  /** With SYN. */
  readonly sackPermitted?: boolean | undefined;
  /** Without data, which would have to be shorter by it: the one that came last first. */
  readonly sack?: readonly SackBlock[] | undefined;
}

/** Writes header and options, the checksum field left zero. @returns their length in bytes */
export function writeHeader(into: Uint8Array, header: SegmentHeader): number {
  const view = new DataView(into.buffer, into.byteOffset, TCP_HEADER);
  view.setUint16(0, header.sourcePort);
  view.setUint16(2, header.destinationPort);
  view.setUint32(4, header.seq);
  view.setUint32(8, header.ack);
  into[13] = header.flags;
  view.setUint16(14, header.window);
  view.setUint32(16, 0);
  let length = TCP_HEADER;
  if (header.mss !== undefined) {
    into.set([OPTION.MSS, 4, header.mss >>> 8, header.mss & 0xff], length);
    length += 4;
  }
  if (header.windowScale !== undefined) {
    into.set([OPTION.NOP, OPTION.WINDOW_SCALE, 3, header.windowScale], length);
    length += 4;
  }
  if (header.sackPermitted) {
    into.set([OPTION.NOP, OPTION.NOP, OPTION.SACK_PERMITTED, 2], length);
    length += 4;
  }
  if (header.sack !== undefined && header.sack.length > 0)
    length += writeSack(into.subarray(length), header.sack);
  into[12] = (length / 4) << 4;
  return length;
}

/** @returns the option's length in bytes */
function writeSack(into: Uint8Array, blocks: readonly SackBlock[]): number {
  const count = Math.min(blocks.length, MAX_SACK_BLOCKS);
  into.set([OPTION.NOP, OPTION.NOP, OPTION.SACK, 2 + 8 * count]);
  const view = new DataView(into.buffer, into.byteOffset, 4 + 8 * count);
  for (let index = 0; index < count; index += 1) {
    view.setUint32(4 + 8 * index, blocks[index]!.left);
    view.setUint32(8 + 8 * index, blocks[index]!.right);
  }
  return 4 + 8 * count;
}

/** Whether a bit of `flags` is set. */
export const has = (segment: { readonly flags: number }, flag: number): boolean =>
  (segment.flags & flag) !== 0;

/** How much of the sequence space it takes: data, SYN and FIN. */
export const spaceOf = ({ flags, data }: Segment): number =>
  data.length + (flags & FLAG.SYN ? 1 : 0) + (flags & FLAG.FIN ? 1 : 0);
