/** struct virtio_net_hdr to and from bytes (virtio 1.2 §5.1.6). Runs on: main. */
import type { VnetHeader } from './backend.js';
import { GSO, HDR_F, HEADER } from './protocol.js';

/** A frame that leaves nothing to be done. */
export const PLAIN: VnetHeader = {
  flags: 0,
  gsoType: 0,
  hdrLen: 0,
  gsoSize: 0,
  csumStart: 0,
  csumOffset: 0,
};

/** Whether a frame is as it goes over a wire. Flags that are unknown mean nothing (§5.1.6.2.2). */
export const isComplete = ({ flags, gsoType }: VnetHeader): boolean =>
  (flags & HDR_F.NEEDS_CSUM) === 0 && gsoType === GSO.NONE;

/** @param bytes HEADER.SIZE of them, a copy: the guest must not change them between two looks */
export function readHeader(bytes: Uint8Array): VnetHeader {
  const u16 = (at: number): number => bytes[at]! | (bytes[at + 1]! << 8);
  return {
    flags: bytes[HEADER.flags]!,
    gsoType: bytes[HEADER.gso_type]!,
    hdrLen: u16(HEADER.hdr_len),
    gsoSize: u16(HEADER.gso_size),
    csumStart: u16(HEADER.csum_start),
    csumOffset: u16(HEADER.csum_offset),
  };
}

/** Writes HEADER.SIZE bytes; num_buffers is 0, the device sets it. @returns `bytes` */
export function writeHeader(header: VnetHeader, bytes: Uint8Array = new Uint8Array(HEADER.SIZE)): Uint8Array {
  bytes[HEADER.flags] = header.flags;
  bytes[HEADER.gso_type] = header.gsoType;
  const u16 = (at: number, value: number): void => {
    bytes[at] = value & 0xff;
    bytes[at + 1] = value >> 8;
  };
  u16(HEADER.hdr_len, header.hdrLen);
  u16(HEADER.gso_size, header.gsoSize);
  u16(HEADER.csum_start, header.csumStart);
  u16(HEADER.csum_offset, header.csumOffset);
  u16(HEADER.num_buffers, 0);
  return bytes;
}
