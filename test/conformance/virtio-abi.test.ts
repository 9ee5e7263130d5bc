/** The numbers of virtio (registers, rings, features, devices) against the kernel's headers, by one C program. */
import { describe, expect, it } from 'vitest';
import * as blk from '../../src/devices/blk/protocol.js';
import { CONFIG as CONSOLE_CONFIG, F as CONSOLE_F, ConsoleDevice } from '../../src/devices/console/device.js';
import * as net from '../../src/devices/net/protocol.js';
import { RngDevice } from '../../src/devices/rng/device.js';
import * as vsock from '../../src/devices/vsock/protocol.js';
import { F } from '../../src/virtio/features.js';
import { INT, MAGIC, REGISTER, VERSION } from '../../src/virtio/mmio-registers.js';
import * as ring from '../../src/virtio/ring.js';
import { STATUS } from '../../src/virtio/status.js';
import { evaluateC } from '../support/compile.js';

const claims = new Map<string, number>();
const claim = (expression: string, value: number): void => {
  claims.set(expression, value);
};
/** `DeviceFeaturesSel` → `DEVICE_FEATURES_SEL`. */
const constant = (name: string): string =>
  name
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1_$2')
    .toUpperCase();
const bit = (mask: bigint): number => mask.toString(2).length - 1;

/** The header has older names for some registers of version 2. */
const REGISTER_NAMES: Readonly<Record<string, string>> = {
  DeviceID: 'DEVICE_ID',
  VendorID: 'VENDOR_ID',
  InterruptACK: 'INTERRUPT_ACK',
  QueueDriverLow: 'QUEUE_AVAIL_LOW',
  QueueDriverHigh: 'QUEUE_AVAIL_HIGH',
  QueueDeviceLow: 'QUEUE_USED_LOW',
  QueueDeviceHigh: 'QUEUE_USED_HIGH',
  SHMSel: 'SHM_SEL',
  SHMLenLow: 'SHM_LEN_LOW',
  SHMLenHigh: 'SHM_LEN_HIGH',
  SHMBaseLow: 'SHM_BASE_LOW',
  SHMBaseHigh: 'SHM_BASE_HIGH',
};
for (const [name, offset] of Object.entries(REGISTER)) {
  claim(`VIRTIO_MMIO_${REGISTER_NAMES[name] ?? constant(name)}`, offset);
}
for (const [name, value] of Object.entries(INT)) claim(`VIRTIO_MMIO_INT_${name}`, value);
claim(`'v' | 'i' << 8 | 'r' << 16 | 't' << 24`, MAGIC);

claim('sizeof(struct vring_desc)', ring.DESC.SIZE);
claim('offsetof(struct vring_desc, addr)', ring.DESC.ADDR);
claim('offsetof(struct vring_desc, len)', ring.DESC.LEN);
claim('offsetof(struct vring_desc, flags)', ring.DESC.FLAGS);
claim('offsetof(struct vring_desc, next)', ring.DESC.NEXT);
for (const [name, value] of Object.entries(ring.DESC_F)) claim(`VRING_DESC_F_${name}`, value);
claim('offsetof(struct vring_avail, flags)', ring.AVAIL.FLAGS);
claim('offsetof(struct vring_avail, idx)', ring.AVAIL.IDX);
claim('offsetof(struct vring_avail, ring)', ring.AVAIL.RING);
claim('sizeof(((struct vring_avail *)0)->ring[0])', ring.AVAIL.ELEMENT_SIZE);
claim('VRING_AVAIL_F_NO_INTERRUPT', ring.AVAIL_F_NO_INTERRUPT);
claim('offsetof(struct vring_used, flags)', ring.USED.FLAGS);
claim('offsetof(struct vring_used, idx)', ring.USED.IDX);
claim('offsetof(struct vring_used, ring)', ring.USED.RING);
claim('sizeof(struct vring_used_elem)', ring.USED.ELEMENT_SIZE);
claim('VRING_DESC_ALIGN_SIZE', ring.ALIGN.DESC);
claim('VRING_AVAIL_ALIGN_SIZE', ring.ALIGN.AVAIL);
claim('VRING_USED_ALIGN_SIZE', ring.ALIGN.USED);
// vring_size of an alignment of 4 is what the three parts need, but for the event index at the used ring's end.
for (const size of [1, 8, 256, 32768]) {
  const parts = ring.descSize(size) + ring.availSize(size);
  claim(`vring_size(${size}, 4)`, Math.ceil(parts / 4) * 4 + ring.usedSize(size));
}

claim('VIRTIO_RING_F_INDIRECT_DESC', bit(F.INDIRECT_DESC));
claim('VIRTIO_RING_F_EVENT_IDX', bit(F.EVENT_IDX));
claim('VIRTIO_F_VERSION_1', bit(F.VERSION_1));
for (const [name, value] of Object.entries(STATUS)) claim(`VIRTIO_CONFIG_S_${name}`, value);

claim('VIRTIO_ID_NET', net.DEVICE_ID);
/** Younger than the header. */
const NEW_NET_FEATURES = ['GUEST_USO4', 'GUEST_USO6', 'HOST_USO'];
for (const [name, value] of Object.entries(net.F)) {
  if (!NEW_NET_FEATURES.includes(name)) claim(`VIRTIO_NET_F_${name}`, bit(value));
}
for (const [name, value] of Object.entries(net.S)) claim(`VIRTIO_NET_S_${name}`, value);
for (const [name, value] of Object.entries(net.HDR_F)) claim(`VIRTIO_NET_HDR_F_${name}`, value);
for (const [name, value] of Object.entries(net.GSO)) {
  if (name !== 'UDP_L4') claim(`VIRTIO_NET_HDR_GSO_${name}`, value);
}
for (const [name, value] of Object.entries(net.ACK)) claim(`VIRTIO_NET_${name}`, value);
for (const [name, value] of Object.entries(net.CTRL)) claim(`VIRTIO_NET_CTRL_${name}`, value);
for (const [name, value] of Object.entries(net.RX)) claim(`VIRTIO_NET_CTRL_RX_${name}`, value);
for (const [name, value] of Object.entries(net.MAC)) claim(`VIRTIO_NET_CTRL_MAC_${name}`, value);
claim('VIRTIO_NET_CTRL_ANNOUNCE_ACK', net.ANNOUNCE_ACK);
claim('VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET', net.MQ_VQ_PAIRS_SET);
claim('VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET', net.GUEST_OFFLOADS_SET);
for (const [name, value] of Object.entries(net.CONFIG)) {
  if (name !== 'SIZE') claim(`offsetof(struct virtio_net_config, ${name})`, value);
}
for (const [name, value] of Object.entries(net.HEADER)) {
  if (name !== 'SIZE') claim(`offsetof(struct virtio_net_hdr_v1, ${name})`, value);
}
claim('sizeof(struct virtio_net_hdr_v1)', net.HEADER.SIZE);
claim('VIRTIO_ID_BLOCK', blk.DEVICE_ID);
claim('VIRTIO_ID_CONSOLE', new ConsoleDevice('', { write: () => true, onDrain: undefined }).type);
claim('VIRTIO_ID_RNG', new RngDevice('', { fill: () => {} }).type);

for (const [name, value] of Object.entries(blk.F)) claim(`VIRTIO_BLK_F_${name}`, bit(value));
for (const [name, value] of Object.entries(blk.T)) claim(`VIRTIO_BLK_T_${name}`, value);
for (const [name, value] of Object.entries(blk.S)) claim(`VIRTIO_BLK_S_${name}`, value);
for (const [name, offset] of Object.entries(blk.CONFIG)) {
  if (name === 'SIZE') claim('offsetof(struct virtio_blk_config, unused1) + 3', offset);
  else claim(`offsetof(struct virtio_blk_config, ${name})`, offset);
}
claim('sizeof(struct virtio_blk_outhdr)', blk.HEADER.SIZE);
claim('offsetof(struct virtio_blk_outhdr, type)', blk.HEADER.type);
claim('offsetof(struct virtio_blk_outhdr, sector)', blk.HEADER.sector);
claim('sizeof(struct virtio_blk_discard_write_zeroes)', blk.RANGE.SIZE);
for (const field of ['sector', 'num_sectors', 'flags'] as const) {
  claim(`offsetof(struct virtio_blk_discard_write_zeroes, ${field})`, blk.RANGE[field]);
}
claim('VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP', blk.RANGE.UNMAP);
claim('VIRTIO_BLK_ID_BYTES', blk.ID_BYTES);

for (const [name, value] of Object.entries(CONSOLE_F)) claim(`VIRTIO_CONSOLE_F_${name}`, bit(value));
for (const [name, offset] of Object.entries(CONSOLE_CONFIG)) {
  if (name === 'SIZE') claim('sizeof(struct virtio_console_config)', offset);
  else claim(`offsetof(struct virtio_console_config, ${name})`, offset);
}

claim('VIRTIO_ID_VSOCK', vsock.DEVICE_ID);
claim('offsetof(struct virtio_vsock_config, guest_cid)', vsock.CONFIG.guest_cid);
claim('sizeof(struct virtio_vsock_config)', vsock.CONFIG.SIZE);
claim('VMADDR_CID_HOST', vsock.HOST_CID);
claim('VMADDR_CID_ANY - 1', vsock.MOST_CID);
for (const [name, offset] of Object.entries(vsock.HEADER)) {
  if (name === 'SIZE') claim('sizeof(struct virtio_vsock_hdr)', offset);
  else claim(`offsetof(struct virtio_vsock_hdr, ${name})`, offset);
}
for (const [name, value] of Object.entries(vsock.TYPE)) claim(`VIRTIO_VSOCK_TYPE_${name}`, value);
for (const [name, value] of Object.entries(vsock.OP)) claim(`VIRTIO_VSOCK_OP_${name}`, value);
claim('VIRTIO_VSOCK_SHUTDOWN_RCV', vsock.SHUTDOWN.RCV);
claim('VIRTIO_VSOCK_SHUTDOWN_SEND', vsock.SHUTDOWN.SEND);
claim('VIRTIO_VSOCK_EVENT_TRANSPORT_RESET', vsock.EVENT.TRANSPORT_RESET);
claim('sizeof(struct virtio_vsock_event)', vsock.EVENT.SIZE);

describe('the numbers of virtio', () => {
  const names = ['mmio', 'ring', 'config', 'ids', 'blk', 'console', 'net', 'vsock'];
  const headers = [
    'stdint.h',
    'sys/socket.h',
    'linux/vm_sockets.h',
    ...names.map((name) => `linux/virtio_${name}.h`),
  ];
  const actual = evaluateC(headers, [...claims.keys()]);

  it.each([...claims])('%s is %i', (expression, value) => {
    expect(Number(actual.get(expression))).toBe(value);
  });

  it('are all there', () => {
    expect(Object.keys(REGISTER)).toHaveLength(29);
    expect(claims.size).toBeGreaterThan(110);
    expect(VERSION).toBe(2);
  });
});
