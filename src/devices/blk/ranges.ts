/** The ranges of a discard or write-zeroes request (virtio 1.2 §5.2.6), each field read once. */
import { gather } from '../pieces.js';
import { RANGE, S, SECTOR, T } from './protocol.js';
import type { BlkRequest } from './request.js';

/** Ranges per request, and sectors per range: what the device says in its configuration. 2 GiB of zeroes take a while. */
export const MAX_RANGES = 16;
export const MAX_RANGE_SECTORS = 2 ** 22;

export interface ByteRange {
  readonly offset: number; // bytes
  readonly length: number; // bytes
  readonly unmap: boolean;
}

/** @returns the ranges, or the status byte that §5.2.6.2 wants for them. @param capacity bytes */
export function parseRanges(request: BlkRequest, capacity: number): ByteRange[] | number {
  const { out, outLength, type } = request;
  const count = outLength / RANGE.SIZE;
  if (!Number.isInteger(count) || count < 1 || count > MAX_RANGES) return S.IOERR;
  const bytes = gather(out, outLength);
  const view = new DataView(bytes.buffer);
  // Of several things that are wrong with a request, an unknown flag is what the driver must hear of.
  const known = type === T.WRITE_ZEROES ? RANGE.UNMAP : 0;
  for (let at = 0; at < outLength; at += RANGE.SIZE) {
    if (view.getUint32(at + RANGE.flags, true) & ~known) return S.UNSUPP;
  }
  const ranges: ByteRange[] = [];
  for (let at = 0; at < outLength; at += RANGE.SIZE) {
    const flags = view.getUint32(at + RANGE.flags, true);
    const sector =
      view.getUint32(at + RANGE.sector + 4, true) * 2 ** 32 + view.getUint32(at + RANGE.sector, true);
    const sectors = view.getUint32(at + RANGE.num_sectors, true);
    const offset = sector * SECTOR;
    const length = sectors * SECTOR;
    if (sectors > MAX_RANGE_SECTORS || offset + length > capacity) return S.IOERR;
    // A range of no sectors is none of the back end's business.
    if (length > 0) ranges.push({ offset, length, unmap: (flags & RANGE.UNMAP) !== 0 });
  }
  return ranges;
}
