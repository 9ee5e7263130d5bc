/**
 * Rows about virtio without a guest: what one chain costs the device's side. The driver here is written for speed, unlike the
 * FakeDriver of the tests: its descriptors never change, and a batch costs it a handful of stores.
 * Runs on: main.
 */
import { MemoryDisk } from '../../src/backends/memory-disk.js';
import { BlkDevice } from '../../src/devices/blk/device.js';
import type { Queue } from '../../src/virtio/queue.js';
import { bareQueue } from '../support/bare-queue.js';
import type { FakeQueue } from '../support/fake-queue.js';
import type { GuestRam } from '../support/guest-ram.js';
import { plug } from '../support/plug.js';
import { type Benchmark, inTurns } from './benchmark.js';

const ENTRIES = 256;
/** Chains posted with one kick. */
const BATCH = 16;
/** Chains per sample. */
const CHAINS = 160_000;
const READ = 4096; // bytes
const NEXT = 1;
const WRITE = 2;

/** Posts the same chains of three descriptors, head, data and status, over and over. */
class SteadyDriver {
  readonly #view: DataView;
  readonly #avail: number;
  readonly #used: number;
  #idx = 0;

  constructor(ram: GuestRam, queue: Pick<FakeQueue, 'desc' | 'avail' | 'used' | 'descriptor'>) {
    this.#view = ram.view;
    this.#avail = queue.avail - ram.base;
    this.#used = queue.used - ram.base;
    for (let chain = 0; chain < BATCH; chain += 1) {
      const first = 3 * chain;
      queue.descriptor(first, { at: ram.alloc(16), length: 16, flags: NEXT, next: first + 1 });
      queue.descriptor(first + 1, {
        at: ram.alloc(READ),
        length: READ,
        flags: NEXT | WRITE,
        next: first + 2,
      });
      queue.descriptor(first + 2, { at: ram.alloc(1), length: 1, flags: WRITE });
    }
    for (let slot = 0; slot < ENTRIES; slot += 1) {
      this.#view.setUint16(this.#avail + 4 + 2 * slot, 3 * (slot % BATCH), true);
    }
  }

  /** Makes a batch available. */
  post(): void {
    this.#idx = (this.#idx + BATCH) & 0xffff;
    this.#view.setUint16(this.#avail + 2, this.#idx, true);
  }
  /** @throws Error when the device has not used the batch, or a request failed */
  check(length: number): void {
    const used = this.#view.getUint16(this.#used + 2, true);
    const last = this.#view.getUint32(this.#used + 4 + 8 * ((used - 1) & (ENTRIES - 1)) + 4, true);
    if (used !== this.#idx || last !== length)
      throw new Error(`used.idx ${used}, not ${this.#idx}; length ${last}`);
  }
}

export const virtioCore: Benchmark = {
  name: 'virtio',
  async run(context) {
    const [queue = [], blk = []] = await inTurns(context, 'virtio without a guest', [
      bareChains(),
      blkReads(),
    ]);
    const rate = (samples: readonly number[]): string =>
      `${Math.round(1e6 / Math.min(...samples))} chains/s at best`;
    const common = { unit: 'µs', limit: {} } as const;
    return [
      {
        ...common,
        name: 'virtio-queue',
        what: 'queue: one chain of three descriptors, popped and given back',
        ours: queue,
        notes: [`${BATCH} a kick, with EVENT_IDX`, rate(queue)],
      },
      {
        ...common,
        name: 'virtio-blk',
        what: `blk: one read of ${READ} bytes from memory, kick to used ring`,
        ours: blk,
        peer: { what: 'the bare queue', samples: queue },
        notes: [`${BATCH} a kick, in three descriptors each, with EVENT_IDX`, rate(blk)],
      },
    ];
  },
};

/** @returns a sample: microseconds per chain */
function bareChains(): () => number {
  const { ram, driver, queue } = bareQueue({ size: ENTRIES, eventIdx: true });
  const steady = new SteadyDriver(ram, driver);
  const drain = (target: Queue): void => void target.drain(() => READ);
  return () => {
    const start = performance.now();
    for (let done = 0; done < CHAINS; done += BATCH) {
      steady.post();
      drain(queue);
      steady.check(READ);
    }
    return ((performance.now() - start) * 1000) / CHAINS;
  };
}

/** @returns a sample: microseconds per request */
function blkReads(): () => Promise<number> {
  const { driver, ram, transport } = plug(
    new BlkDevice('blk', { disk: new MemoryDisk(new Uint8Array(2 ** 20)) }),
  );
  driver.start();
  const steady = new SteadyDriver(ram, driver.queue());
  return async () => {
    const start = performance.now();
    for (let done = 0; done < CHAINS; done += BATCH) {
      steady.post();
      transport.kick(0);
      // The device publishes in a tick; ours comes after it.
      await new Promise<void>((resolve) => process.nextTick(resolve));
      steady.check(READ + 1);
    }
    return ((performance.now() - start) * 1000) / CHAINS;
  };
}
