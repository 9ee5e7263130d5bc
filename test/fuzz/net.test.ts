/**
 * Network cards against drivers and networks of every kind: chains, headers, commands and frames at random. Whatever comes, nothing
 * outside RAM is touched, a back end gets frames only, memory stays bounded, and afterwards the link works.
 */
import { expect, it } from 'vitest';
import type { Sent, VnetBackend, VnetGuest } from '../../src/devices/net/backend.js';
import { NetDevice } from '../../src/devices/net/device.js';
import { FrameLink } from '../../src/devices/net/frame-link.js';
import type { Piece } from '../support/fake-queue.js';
import { FUZZ_LIMIT, fuzz } from '../support/fuzz.js';
import { scribbleDescriptors, someAddress } from '../support/fuzz-virtio.js';
import { GuestRam } from '../support/guest-ram.js';
import { ethernet, GUEST_MAC, HDR, join, NF, netHeader, OTHER_MAC, whole } from '../support/net-driver.js';
import { type Plugged, plug, turn, WINDOW_BASE } from '../support/plug.js';
import type { Random } from '../support/random.js';
import { TestNetwork } from '../support/test-vnet.js';

const PAIRS = 2;
const OFFLOADS = NF.CSUM | NF.GUEST_CSUM | NF.GUEST_TSO4 | NF.GUEST_TSO6 | NF.HOST_TSO4 | NF.HOST_TSO6;

/** A back end that trusts nobody: frames of a possible size, buffers inside RAM or the device's own behind them. */
class StrictVnet implements VnetBackend {
  readonly pairs = PAIRS;
  readonly offloads = OFFLOADS;
  readonly wrong: string[] = [];
  guest!: VnetGuest;
  random!: Random;
  sent = 0;
  active = 0;
  waiting = 0;

  constructor(private readonly ram: GuestRam) {}

  attach(guest: VnetGuest): void {
    this.guest = guest;
  }
  setOffloads(features: bigint): void {
    if (features & ~OFFLOADS) this.wrong.push(`offloads ${features}`);
  }
  setPairs(pairs: number): void {
    this.active = pairs;
  }
  send(pair: number, pieces: readonly Uint8Array[]): Sent {
    if (pair >= this.active) this.wrong.push(`a frame from pair ${pair} of ${this.active}`);
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (length < HDR + 14 || length > HDR + 65553) this.wrong.push(`a frame of ${length} bytes`);
    if (pieces.some((piece) => !this.#isRam(piece))) this.wrong.push('a frame outside RAM');
    const fate = this.random.below(20);
    if (fate === 0) throw new Error('ENOBUFS');
    if (fate === 1) return 'full';
    if (fate === 2) return 'dropped';
    this.sent += 1;
    return 'sent';
  }
  receive(pair: number, into: readonly Uint8Array[]): number {
    if (pair >= this.active) this.wrong.push(`frames are asked for pair ${pair} of ${this.active}`);
    if (into.slice(0, -1).some((piece) => !this.#isRam(piece))) this.wrong.push('a buffer outside RAM');
    const room = into.reduce((sum, piece) => sum + piece.length, 0);
    if (room < HDR + 65553) this.wrong.push(`room for ${room} bytes`);
    if (this.random.below(50) === 0) throw new Error('EIO');
    if (this.waiting === 0) return 0;
    this.waiting -= 1;
    const length = this.random.below(4) > 0 ? this.random.below(1600) : this.random.below(65554);
    let left = HDR + length;
    for (const piece of into) {
      piece.subarray(0, left).fill(this.random.below(256));
      left -= Math.min(left, piece.length);
    }
    // Some are for this card: enough to go on.
    if (this.random.below(2) > 0) into[0]!.subarray(HDR, HDR + 6).set(GUEST_MAC);
    return HDR + length;
  }
  expected(): number {
    return this.random.pick([26, 1526, 65565]);
  }

  #isRam(piece: Uint8Array): boolean {
    const { bytes } = this.ram;
    const start = piece.byteOffset - bytes.byteOffset;
    return piece.buffer === bytes.buffer && start >= 0 && start + piece.length <= bytes.length;
  }
}

it(
  'network cards survive any driver and any network',
  async () => {
    const ram = new GuestRam(512 * 1024);
    const rings = ram.mark();
    const strict = new StrictVnet(ram);
    const network = new TestNetwork(undefined, true);
    const cards: readonly Plugged<NetDevice>[] = [strict, new FrameLink(network)].map((backend, index) =>
      plug(new NetDevice(`net${index}`, { backend, mac: GUEST_MAC, mtu: 1500 }), {
        ram,
        base: WINDOW_BASE + 0x1000 * index,
      }),
    );
    const heapBefore = process.memoryUsage().heapUsed + process.memoryUsage().external;
    const counted = { faults: 0, received: 0, malformed: 0, sent: 0 };

    const works = async (): Promise<void> => {
      for (const { driver } of cards) await driver.reset();
      for (const [index, { driver, device }] of cards.entries()) {
        ram.release(rings);
        await driver.restart({ queueSize: 16 });
        device.setLink(true);
        const before = index === 0 ? strict.sent : network.sent.length;
        network.full = false;
        for (
          let tries = 0;
          tries < 400 && (index === 0 ? strict.sent : network.sent.length) === before;
          tries += 1
        ) {
          driver.queue(1).post([whole(ethernet(60, { to: OTHER_MAC, from: GUEST_MAC }))]);
          strict.guest.writable(0);
          driver.queue(1).collect();
        }
        if ((index === 0 ? strict.sent : network.sent.length) === before)
          throw new Error(`${device.name} sends nothing`);
        await driver.reset();
      }
      network.sent.length = network.headers.length = 0;
    };

    await fuzz({ rounds: 2500, seed: 0x0e7, cumulative: true }, async (random, number) => {
      strict.random = random;
      const card = random.pick(cards);
      const { driver, device, faults, errors } = card;
      ram.release(rings);
      try {
        await driver.restart({
          queueSize: random.pick([2, 8, 16]),
          features: random.below(2) > 0 ? ~0n : ~(1n << BigInt(random.below(24))),
        });
      } catch {
        // The features it left out were needed by others.
        await driver.reset();
        driver.start({ queueSize: 16 });
      }
      for (let step = 1 + random.below(12); step > 0; step -= 1) misbehave(random, card, strict, network);
      if (random.below(4) === 0) await turn();
      counted.faults += faults.splice(0).length;
      const { stats } = device;
      counted.received += stats.received;
      counted.malformed += stats.malformed;
      if (errors.length > 0) throw errors[0];
      if (!ram.intact) throw new Error('something outside RAM changed');
      if (strict.wrong.length > 0) throw new Error(strict.wrong.join(', '));
      const odd = network.sent.find(({ length }) => length < 14 || length > 65553);
      if (odd) throw new Error(`the network was sent ${odd.length} bytes`);
      network.sent.length = network.headers.length = 0;
      if (number % 100 === 0) await works();
    });
    await works();
    counted.sent = strict.sent;
    const heapAfter = process.memoryUsage().heapUsed + process.memoryUsage().external;
    expect(heapAfter - heapBefore).toBeLessThan(128 * 2 ** 20);
    // They met all kinds.
    if (!process.env['FUZZ_ROUNDS']) {
      for (const [what, count] of Object.entries(counted)) expect(count, what).toBeGreaterThan(100);
    }
    for (const { transport } of cards) await transport.close();
  },
  FUZZ_LIMIT,
);

function misbehave(
  random: Random,
  { driver, ram, device }: Plugged<NetDevice>,
  strict: StrictVnet,
  network: TestNetwork,
): void {
  const queues = device.queueSizes.length;
  const place = (write: boolean): Piece => {
    const wild = random.below(40) === 0;
    const at = wild ? Number(someAddress(random, ram)) : ram.base + random.below(ram.size - 70_000);
    return { at, length: random.pick([0, 1, 6, 11, 12, 13, 60, 512, 1514, 2048, 65_000]), write };
  };
  const post = (index: number, pieces: readonly Piece[]): void => {
    try {
      const queue = driver.queue(index);
      if (pieces.length > 0) queue.add(pieces, { indirect: random.below(3) === 0 });
      queue.usedEvent = random.below(0x1_0000);
      queue.notify();
    } catch {
      // The queue is full or not there, or the memory for buffers is used up.
    }
  };
  const several = (write: boolean): Piece[] => Array.from({ length: random.below(5) }, () => place(write));
  switch (random.below(10)) {
    case 0:
    case 1: {
      const header = netHeader(...Array.from({ length: 6 }, () => random.pick([0, 0, 1, 4, 54, 0xff])));
      post(1 + 2 * random.below(PAIRS), [join(header, ethernet(random.below(1600))), ...several(false)]);
      return;
    }
    case 2:
      post(1 + 2 * random.below(PAIRS), [...several(false), ...several(random.below(2) > 0)]);
      return;
    case 3:
    case 4:
      post(2 * random.below(PAIRS), [...(random.below(8) > 0 ? [] : several(false)), ...several(true)]);
      return;
    case 5: {
      const data = random.bytes(random.pick([0, 1, 2, 6, 8, 14, 200]));
      if (random.below(2) > 0) data.fill(random.below(3), 0, 4);
      post(
        queues - 1,
        [Uint8Array.of(random.below(7), random.below(7)), data, random.below(3)].slice(
          0,
          1 + random.below(3),
        ),
      );
      return;
    }
    case 6:
      scribbleDescriptors(random, ram, driver.queue(0).desc, 8);
      driver.queue(0).notify();
      return;
    case 7:
      strict.waiting = random.below(20);
      strict.guest.readable(random.below(PAIRS + 1));
      strict.guest.writable(random.below(PAIRS + 1));
      return;
    case 8:
      network.full = random.below(4) === 0;
      if (!network.full) network.drained();
      network.receive(
        ethernet(14 + random.below(random.below(4) > 0 ? 1500 : 65_000), {
          to: random.pick([GUEST_MAC, OTHER_MAC]),
        }),
      );
      return;
    default:
      device.setLink(random.below(4) > 0);
      device.announce();
      driver.handleInterrupt();
  }
}
