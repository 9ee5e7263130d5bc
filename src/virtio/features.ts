/** Feature bits that belong to the ring and the transport, not to a device (virtio 1.2 §6). */
export const F = {
  INDIRECT_DESC: 1n << 28n,
  EVENT_IDX: 1n << 29n,
  VERSION_1: 1n << 32n,
} as const;

/** What this transport offers for every device. */
export const TRANSPORT_FEATURES = F.INDIRECT_DESC | F.EVENT_IDX | F.VERSION_1;

/** Bits a device may use for itself: §2.2, 0 to 23 and from 50 on. */
export const DEVICE_FEATURES = ((1n << 24n) - 1n) | (((1n << 14n) - 1n) << 50n);
