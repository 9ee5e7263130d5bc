/**
 * Puts a virtio device behind a real MmioTransport over test RAM, with a FakeDriver at its registers: everything a device test needs,
 * without KVM and without a VM.
 */
import type { GuestFault } from '../../src/base/errors.js';
import type { Interrupt } from '../../src/irq/interrupt.js';
import type { VirtioDevice } from '../../src/virtio/device.js';
import { MmioTransport } from '../../src/virtio/mmio.js';
import { FakeDriver } from './fake-driver.js';
import { GuestRam } from './guest-ram.js';
import { PageModel } from './page-model.js';

/** Where a plugged device's window lies. */
export const WINDOW_BASE = 0xc000_1000;

export class CountingInterrupt implements Interrupt {
  /** Edges so far. */
  count = 0;
  /** Called at each edge. */
  onRaise: (() => void) | undefined;
  raise(): void {
    this.count += 1;
    this.onRaise?.();
  }
  /** Edges since the last call. */
  take(): number {
    const count = this.count;
    this.count = 0;
    return count;
  }
}

export interface Plugged<D extends VirtioDevice = VirtioDevice> {
  readonly device: D;
  readonly transport: MmioTransport;
  readonly driver: FakeDriver;
  readonly ram: GuestRam;
  readonly irq: CountingInterrupt;
  readonly page: PageModel;
  /** Rules the driver broke, in order. */
  readonly faults: GuestFault[];
  /** What the device threw that was no GuestFault. */
  readonly errors: unknown[];
}

export interface PlugOptions {
  /** Shared by several devices of one machine. */
  readonly ram?: GuestRam;
  readonly base?: number;
}

export function plug<D extends VirtioDevice>(device: D, options: PlugOptions = {}): Plugged<D> {
  const { ram = new GuestRam(), base = WINDOW_BASE } = options;
  const irq = new CountingInterrupt();
  const page = new PageModel();
  const faults: GuestFault[] = [];
  const errors: unknown[] = [];
  const transport = new MmioTransport({
    device,
    memory: ram.memory,
    irq,
    page,
    base,
    onFault: (fault) => faults.push(fault),
    onError: (error) => errors.push(error),
  });
  return { device, transport, driver: new FakeDriver(transport, ram), ram, irq, page, faults, errors };
}

/** A turn of the event loop: ticks, promises, immediates. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
