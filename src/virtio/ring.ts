/**
 * The split ring in guest memory (virtio 1.2 §2.7): sizes, offsets and flags, named as in the specification. A conformance
 * test compares them with <linux/virtio_ring.h>.
 */

/** Most entries of a ring, §2.7: indices are 16 bits wide and wrap. */
export const MAX_QUEUE_SIZE = 32768;

/** struct virtq_desc, §2.7.5. */
export const DESC = { SIZE: 16, ADDR: 0, LEN: 8, FLAGS: 12, NEXT: 14 } as const;
export const DESC_F = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;

/** struct virtq_avail, §2.7.6: flags, idx, ring[size], used_event. */
export const AVAIL = { FLAGS: 0, IDX: 2, RING: 4, ELEMENT_SIZE: 2 } as const;
export const AVAIL_F_NO_INTERRUPT = 1;

/** struct virtq_used, §2.7.8: flags, idx, ring[size] of { id, len }, avail_event. */
export const USED = { FLAGS: 0, IDX: 2, RING: 4, ELEMENT_SIZE: 8 } as const;

/** What each part must be aligned to, §2.7. */
export const ALIGN = { DESC: 16, AVAIL: 2, USED: 4 } as const;

/** Bytes of each part for `size` entries, §2.7, with the event indices that §2.7.7 and §2.7.10 put at the ends. */
export const descSize = (size: number): number => DESC.SIZE * size;
export const availSize = (size: number): number => AVAIL.RING + AVAIL.ELEMENT_SIZE * size + 2;
export const usedSize = (size: number): number => USED.RING + USED.ELEMENT_SIZE * size + 2;
