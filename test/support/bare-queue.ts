/** A Queue of the device and a FakeQueue of the driver over the same rings, without transport or device. */
import { gpa } from '../../src/base/units.js';
import { Queue, type QueueState } from '../../src/virtio/queue.js';
import { FakeQueue } from './fake-queue.js';
import { GuestRam } from './guest-ram.js';

export interface BareQueue {
  readonly ram: GuestRam;
  readonly driver: FakeQueue;
  readonly queue: Queue;
  /** How often the driver notified the device. */
  readonly kicks: { count: number };
}

export interface BareOptions {
  readonly size?: number;
  readonly indirect?: boolean;
  readonly eventIdx?: boolean;
  readonly state?: QueueState;
  /** Bytes of memory. */
  readonly ram?: number;
}

export function bareQueue(options: BareOptions = {}): BareQueue {
  const { size = 8, indirect = true, eventIdx = false, state } = options;
  const ram = new GuestRam(options.ram);
  const kicks = { count: 0 };
  const notify = (): void => {
    kicks.count += 1;
  };
  const driver = new FakeQueue(ram, 0, size, { eventIdx, notify });
  const layout = { size, desc: gpa(driver.desc), avail: gpa(driver.avail), used: gpa(driver.used) };
  return { ram, driver, kicks, queue: new Queue(layout, ram.memory, { indirect, eventIdx }, state) };
}
