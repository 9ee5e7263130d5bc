/** What a network device and its driver say to each other (virtio 1.2 §5.1); checked against <linux/virtio_net.h>. */

export const DEVICE_ID = 1; // §5.1.1

/** Feature bits, §5.1.3; HOST_USO and its like are of virtio 1.3. */
export const F = {
  CSUM: 1n << 0n,
  GUEST_CSUM: 1n << 1n,
  CTRL_GUEST_OFFLOADS: 1n << 2n,
  MTU: 1n << 3n,
  MAC: 1n << 5n,
  GUEST_TSO4: 1n << 7n,
  GUEST_TSO6: 1n << 8n,
  GUEST_ECN: 1n << 9n,
  GUEST_UFO: 1n << 10n,
  HOST_TSO4: 1n << 11n,
  HOST_TSO6: 1n << 12n,
  HOST_ECN: 1n << 13n,
  HOST_UFO: 1n << 14n,
  MRG_RXBUF: 1n << 15n,
  STATUS: 1n << 16n,
  CTRL_VQ: 1n << 17n,
  CTRL_RX: 1n << 18n,
  CTRL_RX_EXTRA: 1n << 20n,
  GUEST_ANNOUNCE: 1n << 21n,
  MQ: 1n << 22n,
  CTRL_MAC_ADDR: 1n << 23n,
  GUEST_USO4: 1n << 54n,
  GUEST_USO6: 1n << 55n,
  HOST_USO: 1n << 56n,
} as const;

/** What frames to the guest may leave undone; CTRL_GUEST_OFFLOADS changes these (§5.1.6.5.8). */
export const GUEST_OFFLOADS =
  F.GUEST_CSUM | F.GUEST_TSO4 | F.GUEST_TSO6 | F.GUEST_ECN | F.GUEST_UFO | F.GUEST_USO4 | F.GUEST_USO6;

/** A feature and those it needs one of, §5.1.3.1. */
export const NEEDS: readonly (readonly [feature: bigint, oneOf: bigint])[] = [
  [F.GUEST_TSO4, F.GUEST_CSUM],
  [F.GUEST_TSO6, F.GUEST_CSUM],
  [F.GUEST_ECN, F.GUEST_TSO4 | F.GUEST_TSO6],
  [F.GUEST_UFO, F.GUEST_CSUM],
  [F.GUEST_USO4, F.GUEST_CSUM],
  [F.GUEST_USO6, F.GUEST_CSUM],
  [F.HOST_TSO4, F.CSUM],
  [F.HOST_TSO6, F.CSUM],
  [F.HOST_ECN, F.HOST_TSO4 | F.HOST_TSO6],
  [F.HOST_UFO, F.CSUM],
  [F.HOST_USO, F.CSUM],
  [F.CTRL_RX, F.CTRL_VQ],
  [F.CTRL_RX_EXTRA, F.CTRL_VQ],
  [F.GUEST_ANNOUNCE, F.CTRL_VQ],
  [F.MQ, F.CTRL_VQ],
  [F.CTRL_MAC_ADDR, F.CTRL_VQ],
  [F.CTRL_GUEST_OFFLOADS, F.CTRL_VQ],
];

/** Offsets in the configuration, struct virtio_net_config of §5.1.4. */
export const CONFIG = {
  mac: 0, // u8[6]
  status: 6, // u16
  max_virtqueue_pairs: 8, // u16
  mtu: 10, // u16, bytes
  SIZE: 12,
} as const;

/** The configuration's status, §5.1.4. */
export const S = { LINK_UP: 1, ANNOUNCE: 2 } as const;

/** struct virtio_net_hdr, in front of every frame (§5.1.6). */
export const HEADER = {
  flags: 0, // u8
  gso_type: 1, // u8
  hdr_len: 2, // u16, bytes
  gso_size: 4, // u16, bytes
  csum_start: 6, // u16
  csum_offset: 8, // u16
  num_buffers: 10, // u16
  SIZE: 12,
} as const;

export const HDR_F = { NEEDS_CSUM: 1, DATA_VALID: 2 } as const;
/** §5.1.6; UDP_L4 is of virtio 1.3. */
export const GSO = { NONE: 0, TCPV4: 1, UDP: 3, TCPV6: 4, UDP_L4: 5, ECN: 0x80 } as const;

/** Classes and commands of the control queue, §5.1.6.5. */
export const CTRL = { RX: 0, MAC: 1, ANNOUNCE: 3, MQ: 4, GUEST_OFFLOADS: 5 } as const;
export const RX = { PROMISC: 0, ALLMULTI: 1, ALLUNI: 2, NOMULTI: 3, NOUNI: 4, NOBCAST: 5 } as const;
export const MAC = { TABLE_SET: 0, ADDR_SET: 1 } as const;
export const ANNOUNCE_ACK = 0;
export const MQ_VQ_PAIRS_SET = 0;
export const GUEST_OFFLOADS_SET = 0;
/** The byte with which the device answers. */
export const ACK = { OK: 0, ERR: 1 } as const;

/** Bytes of an Ethernet address, of a frame's header, and of the tag that may follow it (IEEE 802.3, 802.1Q). */
export const ADDRESS = 6;
export const ETHERNET = 14;
export const VLAN_TAG = 4;
/** Bytes of the largest frame: a packet of 64 KiB that is to be cut, in Ethernet with a tag. */
export const MAX_FRAME = 65535 + ETHERNET + VLAN_TAG;
