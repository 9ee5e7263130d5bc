/** What a socket device and its driver say to each other (virtio 1.2 §5.10); checked against <linux/virtio_vsock.h>. */

export const DEVICE_ID = 19; // §5.10.1

/** Queues, §5.10.2. */
export const QUEUE = { RX: 0, TX: 1, EVENT: 2 } as const;

/** Feature bits, §5.10.3. The kernel's header has no name for STREAM, which every driver implies. */
export const F = { STREAM: 1n << 0n } as const;

/** struct virtio_vsock_config, §5.10.4. */
export const CONFIG = { guest_cid: 0, SIZE: 8 } as const;

/** Context identifiers, §5.10.4: 0, 1 and 2 are reserved, the upper 32 bits are too. */
export const HOST_CID = 2;
export const LEAST_CID = 3;
/** 2^32 - 1 stands for any address in Linux (VMADDR_CID_ANY). */
export const MOST_CID = 0xffff_fffe;

/** struct virtio_vsock_hdr, §5.10.6, without padding. */
export const HEADER = {
  src_cid: 0, // u64
  dst_cid: 8, // u64
  src_port: 16, // u32
  dst_port: 20, // u32
  len: 24, // u32, bytes of payload
  type: 28, // u16
  op: 30, // u16
  flags: 32, // u32
  buf_alloc: 36, // u32, bytes
  fwd_cnt: 40, // u32, bytes
  SIZE: 44,
} as const;

/** §5.10.6.2 */
export const TYPE = { STREAM: 1 } as const;

/** §5.10.6 */
export const OP = {
  REQUEST: 1,
  RESPONSE: 2,
  RST: 3,
  SHUTDOWN: 4,
  RW: 5,
  CREDIT_UPDATE: 6,
  CREDIT_REQUEST: 7,
} as const;

/** Flags of SHUTDOWN, §5.10.6.5: what its sender will not do any more. */
export const SHUTDOWN = { RCV: 1, SEND: 2, BOTH: 3 } as const;

/** struct virtio_vsock_event, §5.10.6.7. */
export const EVENT = { TRANSPORT_RESET: 0, SIZE: 4 } as const;
