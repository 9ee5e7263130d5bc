/** A queue as the driver sets it up through the registers, half by half (virtio 1.2 §4.2.3.2). */
import { GuestFault } from '../base/errors.js';
import { type Gpa, gpa } from '../base/units.js';
import type { QueueLayout } from './queue.js';

/** Addresses are two halves, low first. */
export interface QueueSetup {
  size: number;
  ready: boolean;
  readonly desc: [number, number];
  readonly driver: [number, number];
  readonly device: [number, number];
}

export const emptyQueue = (): QueueSetup => ({
  size: 0,
  ready: false,
  desc: [0, 0],
  driver: [0, 0],
  device: [0, 0],
});

/** @throws GuestFault when an address cannot be one */
export const layoutOf = ({ size, desc, driver, device }: QueueSetup): QueueLayout => ({
  size,
  desc: address(desc),
  avail: address(driver),
  used: address(device),
});

function address([low, high]: readonly [number, number]): Gpa {
  if (high >= 2 ** 20) throw new GuestFault('queue address above 52 bits', 'SDM vol. 3 §4.1.4');
  return gpa(high * 2 ** 32 + low);
}
