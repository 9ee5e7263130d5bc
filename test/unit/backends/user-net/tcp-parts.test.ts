/** The parts of TCP by themselves: queues, timers, what is measured, what may be under way. */
import { describe, expect, it } from 'vitest';
import { LazyTimer } from '../../../../src/backends/user-net/clock.js';
import { Allowance, Grant } from '../../../../src/backends/user-net/tcp/allowance.js';
import { ByteQueue } from '../../../../src/backends/user-net/tcp/byte-queue.js';
import { Congestion } from '../../../../src/backends/user-net/tcp/congestion.js';
import { OutOfOrder } from '../../../../src/backends/user-net/tcp/out-of-order.js';
import { RoundTrip } from '../../../../src/backends/user-net/tcp/round-trip.js';
import { type Closing, following, type TcpState } from '../../../../src/backends/user-net/tcp/states.js';
import { VirtualClock } from '../../../support/net/virtual-clock.js';
import { Random } from '../../../support/random.js';

describe('a queue of bytes', () => {
  it('is what a plain array would be', () => {
    const random = new Random(7);
    const queue = new ByteQueue();
    let model: number[] = [];
    for (let round = 0; round < 2000; round += 1) {
      const bytes = random.bytes(random.chance(0.1) ? random.below(9000) : random.below(40));
      queue.push(bytes.slice());
      model.push(...bytes);
      const offset = random.below(model.length + 1);
      const part = new Uint8Array(random.below(model.length - offset + 1));
      queue.copy(offset, part);
      expect([...part]).toEqual(model.slice(offset, offset + part.length));
      const gone = random.chance(0.5) ? random.below(model.length + 1) : 0;
      queue.drop(gone);
      model = model.slice(gone);
      expect(queue.length).toBe(model.length);
    }
    expect(Buffer.concat(queue.takeAll())).toEqual(Buffer.from(model));
    expect(queue.length).toBe(0);
  });

  it('gathers single bytes into blocks', () => {
    const queue = new ByteQueue();
    for (let count = 0; count < 100_000; count += 1) queue.push(Uint8Array.of(count & 255));
    expect(queue.takeAll().length).toBeLessThan(10);
  });
});

describe('data out of order', () => {
  it('is given back in order, once, whatever the order, overlaps and wrap', () => {
    for (let seed = 0; seed < 200; seed += 1) {
      const random = new Random(seed);
      const data = random.bytes(500);
      const base = random.pick([0, 2 ** 32 - 200, 1234]);
      const early = new OutOfOrder();
      const pieces = Array.from({ length: 120 }, () => {
        const start = random.below(500);
        return { start, stop: start + 1 + random.below(Math.min(40, 500 - start)) };
      });
      const got: number[] = [];
      for (const { start, stop } of [...pieces, { start: 0, stop: 500 }]) {
        early.insert((base + start) >>> 0, data.subarray(start, stop));
        for (
          let more = early.take((base + got.length) >>> 0);
          more;
          more = early.take((base + got.length) >>> 0)
        ) {
          got.push(...more);
        }
      }
      expect(got).toEqual([...data]);
      expect(early.isEmpty).toBe(true);
    }
  });

  it('is told of in whole stretches, four at most, the last one that came first (RFC 2018 §4)', () => {
    const early = new OutOfOrder();
    const came = (...starts: number[]): number[][] => {
      for (const start of starts) early.insert(start >>> 0, new Uint8Array(10));
      return early.blocks.map(({ left, right }) => [left, right]);
    };
    expect(early.blocks).toEqual([]);
    expect(came(100, 300)).toEqual([
      [300, 310],
      [100, 110],
    ]);
    // Joined to one; then again, which tells what the guest may have missed.
    expect(came(110)[0]).toEqual([100, 120]);
    expect(came(305)[0]).toEqual([300, 315]);
    expect(came(100)[0]).toEqual([100, 120]);
    expect(came(500, 700, 900)).toEqual([
      [900, 910],
      [700, 710],
      [500, 510],
      [100, 120],
    ]);
    early.take(100);
    early.take(110);
    expect(early.blocks.map(({ left }) => left)).toEqual([900, 700, 500, 300]);
  });

  it('keeps a limited number of pieces, the nearest', () => {
    const early = new OutOfOrder();
    for (let piece = 1000; piece > 0; piece -= 1) early.insert(piece * 2, Uint8Array.of(piece & 255));
    expect(early.length).toBe(128);
    expect(early.take(2)).toEqual(Uint8Array.of(1));
  });

  it('keeps as many as the window has room for when they are segments', () => {
    const early = new OutOfOrder();
    for (let piece = 1; piece <= 700; piece += 1) early.insert(piece * 1460, new Uint8Array(1460));
    expect(early.length).toBe(700 * 1460);
    for (let piece = 0; piece < 4000; piece += 1) early.insert(1_100_000 + piece * 2, Uint8Array.of(1));
    expect(early.length).toBeLessThan(1_030_000);
    expect(early.take(1460)).toHaveLength(1460);
  });
});

describe('the retransmission timeout', () => {
  it('follows RFC 6298: the first measurement, the others, their least, and backing off', () => {
    const roundTrip = new RoundTrip();
    expect(roundTrip.timeout).toBe(1000);
    roundTrip.measured(400);
    expect(roundTrip.timeout).toBe(400 + 4 * 200);
    roundTrip.measured(400);
    expect(roundTrip.timeout).toBe(400 + 4 * 150);
    roundTrip.measured(800);
    expect(roundTrip.timeout).toBe(0.875 * 400 + 0.125 * 800 + 4 * (0.75 * 150 + 0.25 * 400));
    for (let count = 0; count < 100; count += 1) roundTrip.measured(1);
    expect(roundTrip.timeout).toBe(200);
    for (const expected of [400, 800, 1600]) {
      roundTrip.backOff();
      expect(roundTrip.timeout).toBe(expected);
    }
    for (let count = 0; count < 100; count += 1) roundTrip.backOff();
    expect(roundTrip.timeout).toBe(60_000);
    roundTrip.restore();
    expect(roundTrip.timeout).toBe(200);
  });
});

describe('the congestion window', () => {
  it('begins with ten segments and doubles in a round trip (RFC 6928, RFC 5681 §3.1)', () => {
    const congestion = new Congestion(1000);
    expect(congestion.window).toBe(10_000);
    congestion.acknowledged(10_000, 10_000, 0);
    expect(congestion.window).toBe(20_000);
  });

  it('halves on the third repeated acknowledgement, and sends again (RFC 5681 §3.2)', () => {
    const congestion = new Congestion(1000);
    congestion.acknowledged(30_000, 30_000, 40_000);
    expect([1, 2, 3, 4].map(() => congestion.duplicate(30_000, 40_000, 70_000))).toEqual([
      false,
      false,
      true,
      false,
    ]);
    expect(congestion.window).toBe(20_000 + 3000 + 1000);
    // RFC 6582: a part acknowledged means the next one is lost too; all of it ends the recovery.
    expect(congestion.acknowledged(5000, 35_000, 35_000)).toBe(true);
    expect(congestion.recovering).toBe(true);
    expect(congestion.acknowledged(35_000, 70_000, 0)).toBe(false);
    expect(congestion.recovering).toBe(false);
    expect(congestion.window).toBeLessThanOrEqual(20_000);
  });

  it('begins again after a timeout, and repeated acknowledgements of what was sent before mean nothing', () => {
    const congestion = new Congestion(1000);
    congestion.timedOut(10_000, 10_000);
    expect(congestion.window).toBe(1000);
    expect([1, 2, 3].map(() => congestion.duplicate(3000, 5000, 10_000))).toEqual([false, false, false]);
    for (let una = 1000; una <= 5000; una += 1000) congestion.acknowledged(1000, una, 1000);
    // Slow start up to half of what was under way, then about a segment in a round trip.
    expect(congestion.window).toBeGreaterThanOrEqual(5000);
    expect(congestion.window).toBeLessThan(6000);
  });
});

describe('a timer that is set often', () => {
  it('fires once, at the last deadline, with few timers of the clock', () => {
    const clock = new VirtualClock();
    let armed = 0;
    const counting = {
      ...clock,
      now: clock.now,
      soon: clock.soon,
      after: (ms: number, action: () => void) => {
        armed += 1;
        return clock.after(ms, action);
      },
    };
    const fired: number[] = [];
    const timer = new LazyTimer(counting, () => fired.push(clock.now()));
    for (let count = 0; count < 1000; count += 1) {
      timer.set(200);
      clock.advance(1);
    }
    clock.advance(1000);
    expect(fired).toEqual([999 + 200]);
    expect(armed).toBeLessThan(10);
    timer.set(500);
    timer.set(100); // an earlier one
    clock.advance(150);
    expect(fired.length).toBe(2);
    timer.set(100);
    timer.clear();
    clock.advance(1000);
    expect(fired.length).toBe(2);
  });
});

describe('a grant', () => {
  it('grows from a pool, a quarter of which is kept for others, and gives all back', () => {
    const pool = new Allowance(1000);
    const grant = new Grant(pool, 64, 4096);
    while (grant.grow());
    expect(grant.size).toBe(256);
    expect(pool.left).toBe(1000 - 192);
    grant.release();
    expect([grant.size, pool.left]).toEqual([64, 1000]);
    const small = new Grant(pool, 64, 128);
    while (small.grow());
    expect(small.size).toBe(128);
  });
});

describe('the end of a connection', () => {
  it.each<[string, TcpState, Closing[], TcpState[]]>([
    [
      'ours first',
      'established',
      ['end', 'fin-acknowledged', 'fin-received'],
      ['fin-wait-1', 'fin-wait-2', 'time-wait'],
    ],
    [
      'both at once',
      'established',
      ['end', 'fin-received', 'fin-acknowledged'],
      ['fin-wait-1', 'closing', 'time-wait'],
    ],
    [
      'the guest’s first',
      'established',
      ['fin-received', 'end', 'fin-acknowledged'],
      ['close-wait', 'last-ack', 'closed'],
    ],
    ['before it was open', 'syn-received', ['end'], ['syn-received']],
    ['for a second time', 'last-ack', ['end', 'fin-received'], ['last-ack', 'last-ack']],
  ])('goes by RFC 9293 figure 5: %s', (_, first, events, states) => {
    let state = first;
    expect(events.map((event) => (state = following(state, event)))).toEqual(states);
  });
});
