import { describe, expect, it } from 'vitest';
import { Neighbours } from '../../../../src/backends/user-net/neighbours.js';
import { VirtualClock } from '../../../support/net/virtual-clock.js';

const address = (last: number): Uint8Array => Uint8Array.of(10, 0, 2, last);
const mac = (last: number): Uint8Array => Uint8Array.of(2, 0, 0, 0, 0, last);

describe('neighbours', () => {
  it('are known by what they said last, however often they change', () => {
    const neighbours = new Neighbours(new VirtualClock(), () => {});
    for (const [at, card] of [
      [1, 1],
      [2, 2],
      [1, 3],
      [1, 3],
      [2, 2],
      [1, 1],
      [2, 4],
    ] as const) {
      neighbours.learn(address(at), mac(card));
      expect(neighbours.find(address(at))).toEqual(mac(card));
    }
    expect([1, 2, 3].map((at) => neighbours.find(address(at)))).toEqual([mac(1), mac(4), undefined]);
  });

  it('are not groups, and not without number', () => {
    const neighbours = new Neighbours(new VirtualClock(), () => {});
    neighbours.learn(address(1), Uint8Array.of(1, 0, 0, 0, 0, 1));
    expect(neighbours.find(address(1))).toBeUndefined();
    for (let count = 0; count < 300; count += 1)
      neighbours.learn(Uint8Array.of(10, 0, count >> 8, count & 255), mac(1));
    expect(neighbours.find(Uint8Array.of(10, 0, 0, 0))).toBeUndefined();
    expect(neighbours.find(Uint8Array.of(10, 0, 1, 0))).toEqual(mac(1));
  });

  it('are asked for five times, a second apart, and what waits goes when they answer', () => {
    const clock = new VirtualClock();
    const asked: number[] = [];
    const sent: Uint8Array[] = [];
    const neighbours = new Neighbours(clock, () => asked.push(clock.now()));
    expect(neighbours.whenKnown(address(1), (to) => sent.push(to))).toBe(true);
    expect(neighbours.whenKnown(address(1), (to) => sent.push(to))).toBe(true);
    clock.advance(2500);
    expect(asked).toEqual([0, 1000, 2000]);
    neighbours.learn(address(1), mac(7));
    expect(sent).toEqual([mac(7), mac(7)]);
    clock.advance(10_000);
    expect(asked.length).toBe(3);
    neighbours.whenKnown(address(2), () => sent.push(mac(0)));
    clock.advance(60_000);
    expect([asked.length, sent.length]).toEqual([8, 2]);
  });

  it('keep a limited number of packets waiting', () => {
    const neighbours = new Neighbours(new VirtualClock(), () => {});
    const each = Array.from({ length: 6 }, () => neighbours.whenKnown(address(1), () => {}));
    expect(each).toEqual([true, true, true, true, false, false]);
    const others = Array.from({ length: 40 }, (_, at) => neighbours.whenKnown(address(100 + at), () => {}));
    expect(others.filter(Boolean).length).toBe(31);
  });
});
