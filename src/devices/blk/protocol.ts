/** What a block device and its driver say to each other (virtio 1.2 §5.2); checked against <linux/virtio_blk.h>. */

export const DEVICE_ID = 2; // §5.2.1

/** The unit of addresses and capacities, bytes: always 512, whatever BLK_SIZE says (§5.2.4). */
export const SECTOR = 512;

/** Feature bits, §5.2.3. */
export const F = {
  SEG_MAX: 1n << 2n,
  RO: 1n << 5n,
  BLK_SIZE: 1n << 6n,
  FLUSH: 1n << 9n,
  TOPOLOGY: 1n << 10n,
  CONFIG_WCE: 1n << 11n,
  MQ: 1n << 12n,
  DISCARD: 1n << 13n,
  WRITE_ZEROES: 1n << 14n,
} as const;

/** Offsets in the configuration, struct virtio_blk_config of §5.2.4. */
export const CONFIG = {
  capacity: 0, // u64, sectors
  seg_max: 12, // u32
  blk_size: 20, // u32, bytes
  physical_block_exp: 24, // u8
  alignment_offset: 25, // u8
  min_io_size: 26, // u16, blocks of blk_size
  opt_io_size: 28, // u32, blocks of blk_size
  wce: 32, // u8, "writeback" in the specification
  num_queues: 34, // u16
  max_discard_sectors: 36, // u32
  max_discard_seg: 40, // u32
  discard_sector_alignment: 44, // u32, sectors
  max_write_zeroes_sectors: 48, // u32
  max_write_zeroes_seg: 52, // u32
  write_zeroes_may_unmap: 56, // u8
  SIZE: 60,
} as const;

/** Request types, §5.2.6. */
export const T = { IN: 0, OUT: 1, FLUSH: 4, GET_ID: 8, DISCARD: 11, WRITE_ZEROES: 13 } as const;

/** Status bytes, §5.2.6. */
export const S = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;

/** struct virtio_blk_req's head: le32 type, le32 reserved, le64 sector. */
export const HEADER = { type: 0, sector: 8, SIZE: 16 } as const;

/** struct virtio_blk_discard_write_zeroes: le64 sector, le32 num_sectors, le32 flags. */
export const RANGE = { sector: 0, num_sectors: 8, flags: 12, SIZE: 16, UNMAP: 1 } as const;

/** Bytes of a device's identification, §5.2.6. */
export const ID_BYTES = 20;
