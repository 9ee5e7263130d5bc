/**
 * The places where virtio devices sit: one page of the MMIO gap and one interrupt line each (DESIGN.md §4). Doorbells and
 * interrupts go through the kernel; everything else a driver does with the registers comes over the bus.
 * Runs on: main.
 */
import { ConfigError, type GuestFault } from '../base/errors.js';
import { type Gpa, type Gsi, gpa, gsi } from '../base/units.js';
import { VIRTIO_GSIS, VIRTIO_MMIO } from '../boot/layout.js';
import type { VirtioDevice } from '../virtio/device.js';
import { MmioTransport } from '../virtio/mmio.js';
import { REGISTER, WINDOW } from '../virtio/mmio-registers.js';
import type { Machine } from './machine.js';

export interface AttachedDevice {
  readonly device: VirtioDevice;
  readonly transport: MmioTransport;
  readonly base: Gpa;
  readonly size: number; // bytes
  readonly gsi: Gsi;
}

export interface DeviceEvents {
  /** The guest broke a rule; its device waits for a reset. */
  onFault(device: VirtioDevice, fault: GuestFault): void;
  /** A device failed by itself. */
  onError(device: VirtioDevice, error: unknown): void;
}

/** @throws ConfigError when there are more devices than places */
export function attachDevices(
  machine: Machine,
  devices: readonly VirtioDevice[],
  events: DeviceEvents,
): AttachedDevice[] {
  if (devices.length > VIRTIO_GSIS.length) {
    const message = `${devices.length} virtio devices: this machine has room for ${VIRTIO_GSIS.length}`;
    throw new ConfigError([{ path: '', message }]);
  }
  return devices.map((device, index) => {
    const base = gpa(VIRTIO_MMIO + index * WINDOW);
    const line = gsi(VIRTIO_GSIS[index]!);
    const transport = new MmioTransport({
      device,
      memory: machine.ram.memory,
      irq: machine.interrupt(line),
      page: machine.page,
      base,
      onFault: (fault) => events.onFault(device, fault),
      onError: (error) => events.onError(device, error),
    });
    machine.mmio.claim(base, WINDOW, device.name, transport);
    for (let queue = 0; queue < device.queueSizes.length; queue += 1) {
      machine.doorbell(gpa(base + REGISTER.QueueNotify), queue, () => transport.kick(queue));
    }
    return { device, transport, base, size: WINDOW, gsi: line };
  });
}
