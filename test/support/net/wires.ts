/** Wires and guests over which TCP must work. */
import { MiB } from '../../../src/base/units.js';
import type { GuestTcpOptions } from './guest-tcp.js';
import type { WireFaults } from './lossy-wire.js';

export interface Wire {
  readonly what: string;
  readonly faults: WireFaults;
  readonly offloads?: boolean;
  readonly guest?: GuestTcpOptions;
  readonly isn?: number;
  /** Most bytes worth sending over it. */
  readonly size?: number;
}

export const WIRES: readonly Wire[] = [
  { what: 'a perfect wire', faults: {} },
  { what: 'a wire of 5 ms', faults: { delay: 5 } },
  { what: 'a wire that loses every fiftieth frame', faults: { loss: 0.02, delay: 1 } },
  { what: 'a wire that loses every fifth frame', faults: { loss: 0.2, delay: 1 }, size: MiB / 4 },
  { what: 'a wire that repeats and reorders', faults: { duplicate: 0.1, reorder: 0.2, delay: 1 } },
  { what: 'a wire that spoils bits', faults: { corrupt: 0.02, delay: 1 } },
  {
    what: 'a wire with all faults',
    faults: { loss: 0.03, duplicate: 0.03, reorder: 0.1, corrupt: 0.01, delay: 2 },
  },
  { what: 'a guest with room for four frames', faults: { capacity: 4, delay: 0.1 } },
  { what: 'a guest that cuts segments itself', faults: { loss: 0.01, delay: 1 }, offloads: true },
  { what: 'a guest without window scaling', faults: { delay: 1 }, guest: { windowScale: undefined } },
  {
    what: 'a guest with a window of 2 KiB',
    faults: { loss: 0.01 },
    guest: { receiveBuffer: 2048 },
    size: MiB / 4,
  },
  { what: 'a guest with an MSS of 200', faults: { loss: 0.01 }, guest: { mss: 200 }, size: MiB / 4 },
  { what: 'sequence numbers that wrap', faults: { loss: 0.02 }, isn: 2 ** 32 - 70_000 },
];
