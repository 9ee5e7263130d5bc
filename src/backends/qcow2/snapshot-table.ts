/**
 * Internal snapshots, as far as writing must know them: where their table and their L1 tables are, so that nothing is
 * written over them. QEMU docs/interop/qcow2.txt "Snapshots".
 */
import { alignUp, hex, MiB } from '../../base/units.js';
import type { Qcow2Header } from './header.js';
import { ImageError } from './image-error.js';
import type { ImageFile } from './image-file.js';

const ENTRY_SIZE = 40;
/** QEMU's own limit. */
const MAX_TABLE = 16 * MiB;

export interface HostRange {
  readonly offset: number;
  readonly length: number;
}

/** Ranges of the snapshot table and of the L1 table of every snapshot. @throws ImageError */
export async function snapshotRanges(file: ImageFile, header: Qcow2Header): Promise<HostRange[]> {
  const ranges: HostRange[] = [];
  // The last cluster may be stored in part: tables end where their last byte does.
  const end = alignUp(file.size, header.clusterSize);
  let at = header.snapshotsOffset;
  const entry = new Uint8Array(ENTRY_SIZE);
  const view = new DataView(entry.buffer);
  for (let index = 0; index < header.snapshotCount; index += 1) {
    await file.readv(at, [entry]);
    const l1Offset = view.getUint32(0) * 2 ** 32 + view.getUint32(4);
    const l1Length = view.getUint32(8) * 8;
    if (l1Offset % header.clusterSize !== 0 || l1Length > 32 * MiB || l1Offset + l1Length > end) {
      throw new ImageError(`snapshot ${index + 1} has its L1 table at ${hex(l1Offset)}`);
    }
    ranges.push({ offset: l1Offset, length: l1Length });
    const length = ENTRY_SIZE + view.getUint32(36) + view.getUint16(12) + view.getUint16(14);
    at += Math.ceil(length / 8) * 8;
    if (at > end || at - header.snapshotsOffset > MAX_TABLE) {
      throw new ImageError('the snapshot table lies outside the file or is too large');
    }
  }
  if (header.snapshotCount > 0)
    ranges.push({ offset: header.snapshotsOffset, length: at - header.snapshotsOffset });
  return ranges;
}
