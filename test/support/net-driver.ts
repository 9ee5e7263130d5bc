/**
 * The driver's half of a network device (virtio 1.2 §5.1), with numbers of its own: frames, headers, commands.
 */
import { NetDevice, type NetDeviceOptions } from '../../src/devices/net/device.js';
import type { FakeDriver } from './fake-driver.js';
import { type Plugged, type PlugOptions, plug } from './plug.js';
import { TestVnet } from './test-vnet.js';

/** Feature bits, §5.1.3. */
export const NF = {
  CSUM: 1n << 0n,
  GUEST_CSUM: 1n << 1n,
  CTRL_GUEST_OFFLOADS: 1n << 2n,
  MTU: 1n << 3n,
  MAC: 1n << 5n,
  GUEST_TSO4: 1n << 7n,
  GUEST_TSO6: 1n << 8n,
  HOST_TSO4: 1n << 11n,
  HOST_TSO6: 1n << 12n,
  MRG_RXBUF: 1n << 15n,
  STATUS: 1n << 16n,
  CTRL_VQ: 1n << 17n,
  CTRL_RX: 1n << 18n,
  CTRL_RX_EXTRA: 1n << 20n,
  GUEST_ANNOUNCE: 1n << 21n,
  MQ: 1n << 22n,
  CTRL_MAC_ADDR: 1n << 23n,
} as const;
/** Offsets of the configuration, §5.1.4. */
export const NET_CONFIG = { mac: 0, status: 6, pairs: 8, mtu: 10 } as const;
/** Bytes of struct virtio_net_hdr. */
export const HDR = 12;

export const GUEST_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
export const OTHER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 2);
export const BROADCAST = new Uint8Array(6).fill(0xff);

export interface FrameOptions {
  readonly to?: Uint8Array;
  readonly from?: Uint8Array;
  /** Byte i of the data is `fill + i`. */
  readonly fill?: number;
}

/** An Ethernet frame of `length` bytes. */
export function ethernet(
  length: number,
  { to = GUEST_MAC, from = OTHER_MAC, fill = 0 }: FrameOptions = {},
): Uint8Array {
  const frame = Uint8Array.from({ length }, (_, index) => (fill + index) & 0xff);
  frame.set([...to, ...from, 0x88, 0xb5].slice(0, length)); // IEEE's local experimental EtherType
  return frame;
}

/** The header's fields in its order, as a driver or a back end writes them. */
export function netHeader(
  flags = 0,
  gsoType = 0,
  hdrLen = 0,
  gsoSize = 0,
  start = 0,
  offset = 0,
  buffers = 0,
): Uint8Array {
  const header = new Uint8Array(HDR);
  const view = new DataView(header.buffer);
  view.setUint8(0, flags);
  view.setUint8(1, gsoType);
  for (const [index, value] of [hdrLen, gsoSize, start, offset, buffers].entries()) {
    view.setUint16(2 + 2 * index, value, true);
  }
  return header;
}

export const join = (...parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(parts));
/** A frame that needs nothing done, behind its header. */
export const whole = (frame: Uint8Array): Uint8Array => join(netHeader(), frame);

export interface PluggedNet extends Plugged<NetDevice> {
  readonly network: TestVnet;
  /** What the back end could not do. */
  readonly hostErrors: unknown[];
}

/** A network device over a TestVnet. */
export function plugNet(
  options: Partial<NetDeviceOptions> & { network?: TestVnet } = {},
  place: PlugOptions = {},
): PluggedNet {
  const network = options.network ?? new TestVnet();
  const hostErrors: unknown[] = [];
  const device = new NetDevice('net0', {
    backend: network,
    mac: GUEST_MAC,
    onHostError: (error) => hostErrors.push(error),
    ...options,
  });
  return { ...plug(device, place), network, hostErrors };
}

/** Sends a command on the control queue. @returns its ack byte; undefined when nothing was written */
export function command(
  driver: FakeDriver,
  queue: number,
  kind: number,
  code: number,
  data: Uint8Array = new Uint8Array(),
): number | undefined {
  const control = driver.queue(queue);
  control.post([Uint8Array.of(kind, code), ...(data.length > 0 ? [data] : []), 1]);
  const [used] = control.collect();
  return used?.length === 1 ? used.posted!.written()[0] : undefined;
}

export const le16 = (value: number): Uint8Array => Uint8Array.of(value & 0xff, value >> 8);
export const le64 = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
};
/** A list of §5.1.6.5.2. */
export const macList = (...addresses: readonly Uint8Array[]): Uint8Array =>
  join(Uint8Array.of(addresses.length & 0xff, addresses.length >> 8, 0, 0), ...addresses);
