/**
 * What lies between two network cards, as tests: frames sent by one arrive at the other, whole and in order, whatever both do. Each
 * back end calls `describeNetwork` with a way to connect two cards by it.
 */
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { VnetBackend } from '../../src/devices/net/backend.js';
import { TestCard } from './net-card.js';
import { ethernet, GUEST_MAC, OTHER_MAC } from './net-driver.js';
import { turn } from './plug.js';
import { Random } from './random.js';

export interface NetworkMaker {
  /** Two back ends that are connected. */
  make(): Promise<readonly [VnetBackend, VnetBackend]>;
  /** After both were closed. */
  cleanUp?(): Promise<void> | void;
}

export interface NetworkTraits {
  /** The longest frame that passes; 65535 + 18 unless said otherwise. */
  readonly longest?: number;
  /** The shortest one; 14 unless said otherwise. */
  readonly shortest?: number;
}

/** Only what the tests themselves send: a network may have frames of its own. */
const isOurs = (frame: Uint8Array): boolean => frame[12] === 0x88 && frame[13] === 0xb5;

/** Of all frames, with their lengths. */
function digest(frames: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const frame of frames) hash.update(`${frame.length}:`).update(frame);
  return hash.digest('hex');
}

export function describeNetwork(
  name: string,
  maker: NetworkMaker,
  { longest = 65553, shortest = 14 }: NetworkTraits = {},
): void {
  describe(name, () => {
    const random = Random.fromEnvironment(name.length * 7919 + 3);
    let one: TestCard;
    let other: TestCard;

    beforeEach(async () => {
      const [first, second] = await maker.make();
      one = new TestCard(first, GUEST_MAC);
      other = new TestCard(second, OTHER_MAC);
    });
    afterEach(async () => {
      await one.plugged.transport.close();
      await other.plugged.transport.close();
      await maker.cleanUp?.();
      for (const { plugged, hostErrors } of [one, other]) {
        expect([plugged.faults, plugged.errors, hostErrors, plugged.ram.intact]).toEqual([[], [], [], true]);
      }
    });

    const start = (): void => {
      one.start();
      other.start();
    };
    const toOther = (length: number, fill = 0): Uint8Array =>
      ethernet(length, { to: OTHER_MAC, from: GUEST_MAC, fill });
    const toOne = (length: number, fill = 0): Uint8Array =>
      ethernet(length, { to: GUEST_MAC, from: OTHER_MAC, fill });

    it('carries frames of every size, both ways', async () => {
      start();
      const sizes = [shortest, 60, 61, 1514, 1518, longest].filter((size) => size <= longest);
      for (const size of sizes) {
        await one.send(toOther(size));
        await other.send(toOne(size));
      }
      expect(await other.take(sizes.length, isOurs)).toEqual(sizes.map((size) => toOther(size)));
      expect(await one.take(sizes.length, isOurs)).toEqual(sizes.map((size) => toOne(size)));
    });

    it('carries a thousand frames each way at once, in order', async () => {
      start();
      const frames = Array.from({ length: 1000 }, (_, index) => {
        const length = 60 + random.below(Math.min(longest, 1514) - 60);
        return [toOther(length, index), toOne(length, index)] as const;
      });
      for (const [index, [there, back]] of frames.entries()) {
        // Nobody keeps everything for a guest whose monitor is busy.
        if (index % 50 === 0) await turn();
        await one.send(there);
        await other.send(back);
        other.collect();
        one.collect();
      }
      expect(digest(await other.take(1000, isOurs))).toBe(digest(frames.map(([there]) => there)));
      expect(digest(await one.take(1000, isOurs))).toBe(digest(frames.map(([, back]) => back)));
    });

    it('keeps some frames for a guest that has no buffers yet', async () => {
      one.start();
      other.start({ buffers: 0 });
      for (let index = 0; index < 20; index += 1) await one.send(toOther(600, index));
      for (let index = 0; index < 20; index += 1) await turn();
      other.post(64);
      const frames = await other.take(20, isOurs);
      expect(frames).toEqual(Array.from({ length: 20 }, (_, index) => toOther(600, index)));
    });

    it('does not stop one guest for another that takes nothing', async () => {
      one.start();
      other.start({ buffers: 0 });
      // More than any back end keeps: what does not fit may wait with the sender or be lost, but not hold up the machine.
      const { driver, ram } = one.plugged;
      const at = ram.put(Buffer.concat([new Uint8Array(12), toOther(1500)]));
      let sent = 0;
      for (let round = 0; round < 100; round += 1) {
        while (driver.queue(1).free > 0) driver.queue(1).add([{ at, length: 1512 }]);
        driver.queue(1).kick();
        await turn();
        sent += driver.queue(1).collect().length;
      }
      expect(sent).toBeGreaterThan(20);
      other.post(200);
      const frames = await other.take(20, isOurs);
      expect(frames.every((frame) => Buffer.compare(frame, toOther(1500)) === 0)).toBe(true);
    });

    it('works again after either driver was reset in the middle of traffic', async () => {
      start();
      for (const card of [one, other]) {
        for (let index = 0; index < 10; index += 1) await one.send(toOther(200));
        await card.plugged.driver.reset();
        card.start();
      }
      const last = toOther(333, 77);
      // What was under way may be lost with the reset.
      await one.send(last);
      await other.take(1, (frame) => Buffer.compare(frame, last) === 0);
      await other.send(toOne(444));
      await one.take(1, (frame) => frame.length === 444 && isOurs(frame));
    });

    it('drops what is no frame, and goes on', async () => {
      start();
      const { driver } = one.plugged;
      for (const length of [1, 11, 12, 25]) driver.queue(1).post([new Uint8Array(length)]);
      expect(driver.queue(1).collect()).toHaveLength(4);
      await one.send(toOther(100));
      expect(await other.take(1, isOurs)).toEqual([toOther(100)]);
      expect(one.device.stats.malformed).toBe(4);
    });

    it('goes on with a driver that comes late', async () => {
      one.start();
      await one.send(toOther(100, 1));
      for (let index = 0; index < 10; index += 1) await turn();
      other.start();
      await one.send(toOther(100, 2));
      const frames = await other.take(1, (frame) => isOurs(frame) && frame[14] === ((2 + 14) & 0xff));
      expect(frames).toEqual([toOther(100, 2)]);
    });
  });
}
