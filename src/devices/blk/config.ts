/** What a block device offers and says of itself, derived from its back end (virtio 1.2 §5.2.3 and §5.2.4). */
import { ConfigSpace } from '../../virtio/config-space.js';
import type { BlockBackend } from './backend.js';
import { CONFIG, F, SECTOR } from './protocol.js';
import { MAX_RANGE_SECTORS, MAX_RANGES } from './ranges.js';

/** Pieces of one request; with head and status it must not need more descriptors than a queue has. */
const SEG_MAX = 254;

export function featuresOf(disk: BlockBackend, readOnly: boolean, queues: number): bigint {
  // §5.2.5.2: FLUSH "SHOULD always" be offered; there is nothing to do for it without a cache.
  let features = F.SEG_MAX | F.BLK_SIZE | F.TOPOLOGY | F.FLUSH;
  if (readOnly) features |= F.RO;
  else {
    if (disk.flush) features |= F.CONFIG_WCE;
    if (disk.discard) features |= F.DISCARD;
    if (disk.writeZeroes) features |= F.WRITE_ZEROES;
  }
  return queues > 1 ? features | F.MQ : features;
}

export function blkConfig(disk: BlockBackend, queues: number): ConfigSpace {
  const unit = Math.max(disk.blockSize ?? SECTOR, SECTOR);
  return new ConfigSpace(CONFIG.SIZE, (view) => {
    setCapacity(view, disk);
    view.setUint32(CONFIG.seg_max, SEG_MAX, true);
    view.setUint32(CONFIG.blk_size, SECTOR, true);
    view.setUint8(CONFIG.physical_block_exp, Math.log2(unit / SECTOR));
    view.setUint16(CONFIG.min_io_size, unit / SECTOR, true);
    view.setUint8(CONFIG.wce, 1);
    view.setUint16(CONFIG.num_queues, queues, true);
    view.setUint32(CONFIG.max_discard_sectors, MAX_RANGE_SECTORS, true);
    view.setUint32(CONFIG.max_discard_seg, MAX_RANGES, true);
    view.setUint32(CONFIG.discard_sector_alignment, unit / SECTOR, true);
    view.setUint32(CONFIG.max_write_zeroes_sectors, MAX_RANGE_SECTORS, true);
    view.setUint32(CONFIG.max_write_zeroes_seg, MAX_RANGES, true);
    view.setUint8(CONFIG.write_zeroes_may_unmap, 1);
  });
}

/** Whole sectors only: what is behind the last one cannot be reached. */
export function setCapacity(view: DataView, { size }: BlockBackend): void {
  view.setBigUint64(CONFIG.capacity, BigInt(Math.floor(size / SECTOR)), true);
}
