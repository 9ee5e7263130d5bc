/** Every virtio device of src/devices with a request that it serves at once: for what all devices must do alike. */
import { BlkDevice } from '../../src/devices/blk/device.js';
import { ConsoleDevice } from '../../src/devices/console/device.js';
import { NetDevice } from '../../src/devices/net/device.js';
import { RngDevice } from '../../src/devices/rng/device.js';
import { VsockDevice } from '../../src/devices/vsock/device.js';
import type { VirtioDevice } from '../../src/virtio/device.js';
import { header, T } from './blk-driver.js';
import type { Piece } from './fake-queue.js';
import { ethernet, GUEST_MAC, whole } from './net-driver.js';
import { TestDisk } from './test-disk.js';
import { TestVnet } from './test-vnet.js';
import { encodePacket, GUEST, OP, RecordingHost } from './vsock-driver.js';

export interface DeviceCase {
  readonly name: string;
  make(): VirtioDevice;
  /** The queue of requests that are served at once. */
  readonly queue: number;
  /** Such a request, whole. */
  readonly request: readonly Piece[];
  /** What its used length must be. */
  readonly length: number;
}

export const DEVICES: readonly DeviceCase[] = [
  {
    name: 'blk',
    make: () => new BlkDevice('blk', { disk: new TestDisk(), queues: 2 }),
    queue: 0,
    request: [header(T.IN), 512, 1],
    length: 513,
  },
  {
    name: 'net',
    make: () => new NetDevice('net', { backend: new TestVnet(), mac: GUEST_MAC }),
    queue: 1,
    request: [whole(ethernet(60))],
    length: 0,
  },
  {
    name: 'rng',
    make: () => new RngDevice('rng', { fill: (buffer) => void buffer.fill(0x5a) }),
    queue: 0,
    request: [32],
    length: 32,
  },
  {
    name: 'console',
    make: () => new ConsoleDevice('console', { write: () => true, onDrain: undefined }),
    queue: 1,
    request: [new TextEncoder().encode('hello')],
    length: 0,
  },
  {
    name: 'vsock',
    make: () => new VsockDevice('vsock', GUEST, new RecordingHost()),
    queue: 1,
    request: [encodePacket({ op: OP.RW })],
    length: 0,
  },
];
