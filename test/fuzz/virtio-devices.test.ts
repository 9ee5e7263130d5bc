/**
 * Every device behind its transport against drivers of every kind: registers, rings, descriptors and requests at random. Whatever they
 * do, nothing outside RAM and disk is touched, no device fails, no turn takes long, memory stays bounded, and afterwards each works.
 */
import { expect, it } from 'vitest';
import type { BlockBackend } from '../../src/devices/blk/backend.js';
import { BlkDevice } from '../../src/devices/blk/device.js';
import { ConsoleDevice } from '../../src/devices/console/device.js';
import { RngDevice } from '../../src/devices/rng/device.js';
import { VsockDevice } from '../../src/devices/vsock/device.js';
import type { VirtioDevice } from '../../src/virtio/device.js';
import { header, ranges } from '../support/blk-driver.js';
import { EVENT_IDX, REG, ST, VERSION_1 } from '../support/fake-driver.js';
import type { Piece } from '../support/fake-queue.js';
import { FUZZ_LIMIT, fuzz } from '../support/fuzz.js';
import { scribbleDescriptors, someAddress, someLength, someNumber } from '../support/fuzz-virtio.js';
import { GuestRam } from '../support/guest-ram.js';
import { type Plugged, plug, turn, WINDOW_BASE } from '../support/plug.js';
import type { Random } from '../support/random.js';
import { encodePacket, GUEST, OP } from '../support/vsock-driver.js';

const KiB = 1024;
const DISK = 32 * KiB;
/** A busy machine pauses us; a loop without end or a copy without bound takes longer than this, ms. */
const LONGEST_TURN = 2000;

/** A disk that trusts nobody: ranges inside it, whole sectors, buffers inside RAM. */
class StrictDisk implements BlockBackend {
  readonly size = DISK;
  readonly #bytes = new Uint8Array(DISK);
  pending = 0;
  /** Mistakes of the device. */
  readonly wrong: string[] = [];

  constructor(
    private readonly ram: GuestRam,
    private readonly later: boolean,
    readonly random: () => Random,
  ) {}

  read(at: number, into: Uint8Array): void | Promise<void> {
    this.#check('read', at, [into]);
    return this.#do(() => into.set(this.#bytes.subarray(at, at + into.length)));
  }
  write(at: number, from: Uint8Array): void | Promise<void> {
    this.#check('write', at, [from]);
    return this.#do(() => this.#bytes.set(from, at));
  }
  flush(): void | Promise<void> {
    return this.#do(() => {});
  }
  discard(at: number, length: number): void | Promise<void> {
    this.#range('discard', at, length);
    return this.#do(() => {});
  }
  writeZeroes(at: number, length: number): void | Promise<void> {
    this.#range('writeZeroes', at, length);
    return this.#do(() => void this.#bytes.fill(0, at, at + length));
  }

  #check(what: string, at: number, pieces: readonly Uint8Array[]): void {
    const { bytes, size } = this.ram;
    let length = 0;
    for (const piece of pieces) {
      const start = piece.byteOffset - bytes.byteOffset;
      if (piece.buffer !== bytes.buffer || start < 0 || start + piece.length > size)
        this.wrong.push(`${what}: not RAM`);
      length += piece.length;
    }
    if (!(at >= 0 && at + length <= DISK)) this.wrong.push(`${what} of ${length} at ${at}`);
  }
  #range(what: string, at: number, length: number): void {
    if (!(at >= 0 && length > 0 && at + length <= DISK) || at % 512 || length % 512)
      this.wrong.push(`${what} of ${length} at ${at}`);
  }
  #do(work: () => void): void | Promise<void> {
    const fails = this.random().below(50) === 0;
    if (!this.later) {
      if (fails) throw new Error('EIO');
      return work();
    }
    this.pending += 1;
    const turns = this.random().below(3);
    return (async () => {
      for (let index = 0; index < turns; index += 1) await turn();
      this.pending -= 1;
      if (fails) throw new Error('EIO');
      work();
    })();
  }
}

interface Target {
  readonly plugged: Plugged<VirtioDevice>;
  /** A good request and its queue. */
  readonly queue: number;
  readonly request: readonly Piece[];
  readonly length: number;
}

it(
  'devices survive any driver',
  async () => {
    const ram = new GuestRam(256 * KiB);
    const rings = ram.mark();
    let random!: Random;
    const source = (): Random => random;
    const disks = [new StrictDisk(ram, false, source), new StrictDisk(ram, true, source)];
    const output = {
      write: (): boolean => random.below(8) > 0,
      onDrain: undefined as (() => void) | undefined,
    };
    const consoleDevice = new ConsoleDevice('console', output);
    const devices: readonly (Omit<Target, 'plugged'> & { device: VirtioDevice })[] = [
      ...disks.map((disk, index) => ({
        device: new BlkDevice(`blk${index}`, { disk, queues: 2 }),
        queue: 1,
        request: [header(8), 20, 1],
        length: 21,
      })),
      {
        device: new RngDevice('rng', { fill: (buffer) => void buffer.fill(1) }),
        queue: 0,
        request: [10],
        length: 10,
      },
      { device: consoleDevice, queue: 1, request: [Uint8Array.of(1)], length: 0 },
      {
        device: new VsockDevice('vsock', GUEST, { connecting: () => undefined }),
        queue: 1,
        request: [encodePacket({ op: OP.REQUEST })],
        length: 0,
      },
    ];
    const targets: readonly Target[] = devices.map(({ device, ...rest }, index) => ({
      ...rest,
      plugged: plug(device, { ram, base: WINDOW_BASE + 0x1000 * index }),
    }));
    const seen = { faults: 0, interrupts: 0 };

    /** All devices work: each in turn, with the others at rest, for they share the memory. */
    const allWork = async (): Promise<void> => {
      for (const { plugged } of targets) await plugged.driver.reset();
      for (const target of targets) {
        await aGoodRequest(target);
        await target.plugged.driver.reset();
      }
    };
    const aGoodRequest = async ({ plugged, queue, request, length }: Target): Promise<void> => {
      ram.release(rings);
      await plugged.driver.restart({ queueSize: 16 });
      output.onDrain?.();
      plugged.driver.queue(queue).post(request);
      const [used] = await plugged.driver.queue(queue).take();
      if (used!.length !== length)
        throw new Error(`${plugged.device.name} used ${used!.length} of ${length} bytes`);
    };

    const heapBefore = process.memoryUsage().heapUsed + process.memoryUsage().external;
    const rounds = await fuzz({ rounds: 14_000, seed: 0xd1ce, cumulative: true }, async (own, number) => {
      random = own;
      const target = random.pick(targets);
      const { driver, device, faults, errors, irq } = target.plugged;
      const longest = { ms: 0 };
      const act = (action: () => unknown): unknown => {
        const start = performance.now();
        const result = action();
        longest.ms = Math.max(longest.ms, performance.now() - start);
        return result;
      };
      ram.release(rings);
      // Half of the drivers start well, and go wrong only then.
      if (random.below(2) > 0) {
        await act(() => driver.reset());
        try {
          const queueSize = random.pick([1, 2, 8, 16]);
          act(() =>
            driver.start({
              queueSize,
              features: random.below(2) > 0 ? ~0n : ~EVENT_IDX & ~(1n << BigInt(random.below(32))),
            }),
          );
        } catch {
          // A reset of another driver was under way.
        }
      }
      for (let step = 1 + random.below(8); step > 0; step -= 1) {
        await misbehave(random, target, act);
      }
      if (random.below(4) === 0) await turn();
      if (random.below(16) === 0) output.onDrain?.();
      if (device === consoleDevice && random.below(3) === 0)
        act(() => consoleDevice.receive(random.bytes(random.below(300))));
      seen.faults += faults.splice(0).length;
      seen.interrupts += irq.take();
      if (errors.length > 0) throw errors[0];
      if (!ram.intact) throw new Error('something outside RAM changed');
      if (disks.some(({ wrong }) => wrong.length > 0))
        throw new Error(disks.flatMap(({ wrong }) => wrong).join(', '));
      if (disks.some(({ pending }) => pending > 2 * 256))
        throw new Error('more requests in flight than queues have entries');
      if (longest.ms > LONGEST_TURN) throw new Error(`${device.name}: one turn took ${longest.ms} ms`);
      if (number % 50 === 0) await allWork();
    });
    await allWork();

    const heapAfter = process.memoryUsage().heapUsed + process.memoryUsage().external;
    expect(heapAfter - heapBefore).toBeLessThan(256 * KiB * KiB);
    // The drivers were neither all harmless nor all hopeless.
    if (rounds >= 1000) {
      expect(seen.faults).toBeGreaterThan(rounds / 50);
      expect(seen.interrupts).toBeGreaterThan(rounds / 50);
    }
    for (const { plugged } of targets) await plugged.transport.close();
  },
  FUZZ_LIMIT,
);

async function misbehave(
  random: Random,
  { plugged }: Target,
  act: (action: () => unknown) => unknown,
): Promise<void> {
  const { driver, ram, transport } = plugged;
  const queueAt = (): number => ram.base + 0x1000 * random.below(40);
  switch (random.below(12)) {
    case 0: {
      const width = random.pick([1, 2, 4, 4, 4, 8]);
      const offset = random.below(4) > 0 ? random.pick(Object.values(REG)) : random.below(0x1000 - 8);
      await act(() => driver.write(offset, someNumber(random), width));
      return;
    }
    case 1: {
      const data = new Uint8Array(random.pick([1, 2, 4, 8]));
      act(() => transport.read(random.below(0x1000 - 8), data));
      return;
    }
    case 2:
      await act(() =>
        driver.write(REG.Status, random.below(2) > 0 ? random.below(256) : random.pick([1, 3, 11, 15, 0])),
      );
      return;
    case 3: {
      // Everything a driver does, with places and sizes of its own.
      await act(() => driver.reset());
      void driver.write(REG.Status, ST.ACKNOWLEDGE);
      void driver.write(REG.Status, ST.ACKNOWLEDGE | ST.DRIVER);
      act(() => driver.acceptFeatures(random.below(2) > 0 ? driver.offered : VERSION_1));
      driver.setStatus(ST.FEATURES_OK);
      for (const index of [0, 1]) {
        void driver.write(REG.QueueSel, index);
        void driver.write(REG.QueueNum, random.below(4) > 0 ? 2 ** random.below(9) : someNumber(random));
        const wild = random.below(4) === 0;
        const place = (): number => (wild ? Number(someAddress(random, ram)) : queueAt());
        act(() => driver.placeQueue(place(), place(), place()));
        void driver.write(REG.QueueReady, 1);
      }
      act(() => driver.setStatus(ST.DRIVER_OK));
      return;
    }
    case 4:
      scribbleDescriptors(random, ram, queueAt(), 16);
      return;
    case 5:
      ram.at(queueAt(), 256).set(random.bytes(256));
      return;
    case 6: {
      // A block request's head, or ranges, where descriptors may point.
      const at = queueAt();
      const type = random.below(4) > 0 ? random.pick([0, 1, 4, 8, 11, 13]) : random.next();
      const sector =
        random.below(3) > 0 ? random.below(70) : BigInt(random.next()) << BigInt(random.below(33));
      ram.at(at, 16).set(header(type, sector));
      ram
        .at(at + 16, 16)
        .set(ranges({ sector: random.below(70), sectors: random.below(70), flags: random.pick([0, 1, 2]) }));
      return;
    }
    case 7:
      act(() => transport.kick(random.below(3)));
      return;
    default:
      postSomething(random, plugged, act);
  }
}

/** A buffer through a queue that was set up, in one piece or many, of the right shape or not. */
function postSomething(
  random: Random,
  { driver, ram }: Plugged<VirtioDevice>,
  act: (action: () => unknown) => unknown,
): void {
  let queue: ReturnType<typeof driver.queue>;
  try {
    queue = driver.queue(random.below(2));
  } catch {
    return;
  }
  try {
    if (random.below(8) > 0) {
      const type = random.below(8) > 0 ? random.pick([0, 0, 0, 1, 1, 4, 8, 11, 13]) : random.next();
      const sector =
        random.below(8) > 0 ? random.below(70) : BigInt(random.next()) << BigInt(random.below(33));
      const head = header(type, sector);
      const place = (write: boolean): Piece => {
        const wild = random.below(20) === 0;
        const at = wild ? Number(someAddress(random, ram)) : ram.base + random.below(ram.size - 8192);
        return {
          at,
          length: wild ? someLength(random) : random.pick([0, 1, 16, 20, 512, 512, 1024, 4096]),
          write,
        };
      };
      const pieces: Piece[] = random.below(8) > 0 ? [head] : [];
      for (let count = random.below(4); count > 0; count -= 1) pieces.push(place(false));
      for (let count = random.below(5); count > 0; count -= 1) pieces.push(place(true));
      if (random.below(8) > 0) pieces.push(1);
      if (pieces.length > 0)
        queue.add(pieces, { indirect: random.below(2) > 0 ? random.below(pieces.length + 1) : 0 });
    } else {
      queue.offer(random.below(4) > 0 ? random.below(16) : random.below(0x1_0000));
      if (random.below(8) === 0) queue.availIdx = random.below(0x1_0000);
    }
  } catch {
    // The ring is full, or the memory for buffers is used up: a driver would wait.
  }
  queue.usedEvent = random.below(0x1_0000);
  if (random.below(4) > 0) act(() => queue.notify());
}
