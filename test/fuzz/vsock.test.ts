/**
 * The socket device against guests that know its protocol and keep to it when they please: packets of every kind for a few ports, hosts
 * that read, write and end at random. No byte is lost, invented or sent beyond the guest's room, nobody stores more than the window, and
 * every connection ends exactly once.
 */
import { expect, it } from 'vitest';
import type { GuestStream, HostEnd, StreamEnd, VsockHost } from '../../src/devices/vsock/backend.js';
import { VsockDevice } from '../../src/devices/vsock/device.js';
import { FUZZ_LIMIT, fuzz } from '../support/fuzz.js';
import { GuestRam } from '../support/guest-ram.js';
import { type Plugged, plug, turn } from '../support/plug.js';
import type { Random } from '../support/random.js';
import { decodePacket, encodePacket, GUEST, OP, type Packet } from '../support/vsock-driver.js';

const WINDOW = 4096;
const CONNECTIONS = 12;

/** Byte `index` of a stream: what each side sends is known from its position. */
const byteAt = (index: number): number => (index * 31 + (index >> 8)) & 0xff;
const stream = (from: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => byteAt(from + index));

class WildEnd implements HostEnd {
  stream!: GuestStream;
  received_ = 0;
  held = 0;
  sent = 0;
  toSend = 0;
  ends = 0;
  ended = false;

  constructor(
    readonly random: () => Random,
    readonly wrong: string[],
  ) {}

  opened(): void {}
  received(bytes: Uint8Array): void {
    if (this.ends > 0 || this.ended) this.wrong.push('data after the end');
    // The host cannot know what a wild guest meant to send: only that no more is kept than was allowed.
    this.received_ += bytes.length;
    this.held += bytes.length;
    if (this.held > WINDOW) this.wrong.push(`${this.held} bytes held`);
    if (this.random().below(2) === 0) this.consume();
  }
  guestEnded(): void {
    this.ended = true;
  }
  guestDeaf(): void {}
  pull(into: Uint8Array): number {
    const length = Math.min(into.length, this.toSend);
    into.set(stream(this.sent, length));
    this.sent += length;
    this.toSend -= length;
    return length;
  }
  over(_why: StreamEnd): void {
    this.ends += 1;
  }
  consume(): void {
    const bytes = this.random().below(this.held + 1);
    this.held -= bytes;
    this.stream.consumed(bytes);
  }
  act(): void {
    const random = this.random();
    switch (random.below(10)) {
      case 0:
        this.stream.end();
        return;
      case 1:
        if (random.below(4) === 0) this.stream.close();
        return;
      case 2:
        if (random.below(4) === 0) this.stream.reset();
        return;
      case 3:
        this.stream.accept();
        return;
      case 4:
      case 5:
        this.consume();
        return;
      default:
        this.toSend += random.below(6000);
        this.stream.ready();
    }
  }
}

/** What the guest knows of a connection. */
interface GuestSide {
  /** Bytes received, and its account as told last. */
  got: number;
  bufAlloc: number;
  fwdCnt: number;
  /** Not while it has forgotten a connection that the host has not. */
  believable: boolean;
  /** It has lied about its account. */
  liar: boolean;
}
const newSide = (): GuestSide => ({ got: 0, bufAlloc: 3000, fwdCnt: 0, believable: false, liar: false });

it(
  'a socket device survives any guest, and keeps the order of those that keep to the rules',
  async () => {
    const seen = { data: 0, checked: 0, resets: 0, opened: 0 };
    await fuzz({ rounds: 300, seed: 0x50c4e7 }, async (random) => {
      const wrong: string[] = [];
      const ends: WildEnd[] = [];
      const newEnd = (): WildEnd => {
        const end = new WildEnd(() => random, wrong);
        ends.push(end);
        return end;
      };
      const host: VsockHost = {
        connecting(asked) {
          if (random.below(5) === 0) return undefined;
          const end = newEnd();
          end.stream = asked;
          if (random.below(3) > 0) asked.accept();
          return end;
        },
      };
      const limits = { window: WINDOW, connections: CONNECTIONS, closeMs: 60_000 };
      const plugged = plug(new VsockDevice('vsock', GUEST, host, limits), { ram: new GuestRam(512 * 1024) });
      const { driver, device, faults, errors, ram } = plugged;
      driver.start({ queueSize: random.pick([4, 16, 64]) });
      const mark = ram.mark();
      const guest = new Map<string, GuestSide>();

      const readAll = (): void => {
        for (const { posted, length } of driver.queue(0).collect()) {
          if (posted) readPacket(decodePacket(posted.written().subarray(0, length)), guest, wrong, seen);
        }
      };

      for (let step = 0; step < 150; step += 1) {
        if (random.below(3) === 0) postBuffers(random, plugged);
        // As a guest does, which has read what it answers to.
        await new Promise<void>((resolve) => process.nextTick(resolve));
        readAll();
        if (random.below(4) > 0) sendSomething(random, plugged, guest);
        if (ends.length > 0 && random.below(2) > 0) random.pick(ends).act();
        if (random.below(20) === 0) {
          const end = newEnd();
          const asked = device.connect(random.below(4), end, 60_000);
          if (asked) end.stream = asked;
          else ends.pop();
        }
        if (random.below(8) === 0) await turn();
        readAll();
        driver.queue(1).collect();
        if ([0, 1].every((index) => driver.queue(index).free === driver.queue(index).size)) ram.release(mark);
        if (device.stats.connections > CONNECTIONS) wrong.push(`${device.stats.connections} connections`);
        if (wrong.length > 0) throw new Error(wrong.join(', '));
        if (errors.length > 0) throw errors[0];
        if (faults.length > 0) throw faults[0];
      }
      seen.opened += ends.length;
      await plugged.transport.close();
      if (ends.some((end) => end.ends !== 1)) throw new Error('a connection did not end exactly once');
      if (!ram.intact) throw new Error('something outside RAM changed');
    });
    // Most guests are believable, so most bytes were compared.
    expect(seen.checked).toBeGreaterThan(seen.data / 4);
    expect(seen.data).toBeGreaterThan(100_000);
    expect(seen.resets).toBeGreaterThan(100);
    expect(seen.opened).toBeGreaterThan(100);
  },
  FUZZ_LIMIT,
);

function postBuffers(random: Random, { driver }: Plugged<VsockDevice>): void {
  const rx = driver.queue(0);
  try {
    for (let count = random.below(8); count > 0; count -= 1) {
      const room = random.pick([1, 7, 100, 1000, 4096]);
      rx.add(random.below(2) > 0 ? [44, room] : [20, 24 + room]);
    }
  } catch {
    // The ring is full, or the memory used up.
  }
  rx.notify();
}

function sendSomething(
  random: Random,
  { driver }: Plugged<VsockDevice>,
  guest: Map<string, GuestSide>,
): void {
  // Ports that the host asked from, and ports that the guest asks for.
  const dstPort = random.below(2) > 0 ? random.below(3) : 2 ** 30 + random.below(6);
  const srcPort = random.below(4);
  const key = `${dstPort}:${srcPort}`;
  const op =
    random.below(30) === 0
      ? random.below(0x1_0000)
      : random.pick([
          ...[OP.REQUEST, OP.REQUEST, OP.RESPONSE, OP.RESPONSE, OP.RW, OP.RW, OP.RW, OP.RW, OP.RW],
          ...[OP.CREDIT_UPDATE, OP.CREDIT_UPDATE, OP.CREDIT_REQUEST, OP.SHUTDOWN, OP.RST],
        ]);
  const type = random.below(50) === 0 ? random.below(4) : 1;
  const side = { ...(guest.get(key) ?? newSide()) };
  if (type === 1 && (op === OP.REQUEST || op === OP.RST)) Object.assign(side, newSide());
  side.fwdCnt = side.believable ? side.got : 0;
  side.bufAlloc += random.pick([0, 500]);
  let { bufAlloc, fwdCnt } = side;
  if (random.below(100) === 0) {
    [bufAlloc, fwdCnt] = [random.next(), random.next()];
    side.liar = true;
  }
  const length = op === OP.RW ? random.pick([0, 1, 10, 500, 2000, 5000]) : 0;
  const flags = op === OP.SHUTDOWN ? random.below(5) : 0;
  const packet = encodePacket({
    srcPort,
    dstPort,
    op,
    flags,
    type,
    bufAlloc,
    fwdCnt,
    data: stream(0, length),
  });
  try {
    const cut = random.below(packet.length + 1);
    driver.queue(1).add(random.below(2) > 0 ? [packet] : [packet.slice(0, cut), packet.slice(cut)]);
    guest.set(key, side);
    driver.queue(1).kick();
  } catch {
    // The ring is full, or the memory used up.
  }
}

function readPacket(
  packet: Packet,
  guest: Map<string, GuestSide>,
  wrong: string[],
  seen: { data: number; checked: number; resets: number },
): void {
  const key = `${packet.srcPort}:${packet.dstPort}`;
  const side = guest.get(key) ?? newSide();
  guest.set(key, side);
  if (packet.op === OP.RST) {
    seen.resets += 1;
    side.believable = false;
  }
  if (packet.op === OP.REQUEST || packet.op === OP.RESPONSE) {
    side.got = 0;
    side.believable = true;
  }
  if (packet.op !== OP.RW) return;
  seen.data += packet.data.length;
  const expected = stream(side.got, packet.data.length);
  side.got += packet.data.length;
  if (!side.believable || side.liar) return;
  seen.checked += packet.data.length;
  if (Buffer.compare(expected, packet.data) !== 0) wrong.push(`wrong bytes before ${side.got} of ${key}`);
  if (side.got - side.fwdCnt > side.bufAlloc) wrong.push(`${key} got more than it had room for`);
}
