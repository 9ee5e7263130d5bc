/** Queues against rings and descriptors of every kind: only faults come out, nothing outside is read or written, no work is endless. */
import { describe, expect, it } from 'vitest';
import { GuestFault } from '../../src/base/errors.js';
import { gpa } from '../../src/base/units.js';
import { type Chain, Queue } from '../../src/virtio/queue.js';
import { bareQueue } from '../support/bare-queue.js';
import type { Piece } from '../support/fake-queue.js';
import { FUZZ_LIMIT, fuzz } from '../support/fuzz.js';
import { scribbleDescriptors, someAddress, someNumber } from '../support/fuzz-virtio.js';
import { GuestRam } from '../support/guest-ram.js';

const KiB = 1024;

/** @returns what `action` gives; undefined if the driver broke a rule. Anything else that is thrown is a bug. */
function contained<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (error instanceof GuestFault) return undefined;
    throw error;
  }
}

/** As toEqual, at a hundredth of its price. */
function same(actual: unknown, expected: unknown): void {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) expect(actual).toEqual(expected);
}

describe('a queue', () => {
  it(
    'survives any layout, ring and descriptors, and changes nothing but its used ring',
    async () => {
      const ram = new GuestRam(32 * KiB);
      const { buffer, byteOffset } = ram.bytes;
      let made = 0;
      let popped = 0;
      const check = (piece: Uint8Array): void => {
        const start = piece.byteOffset - byteOffset;
        if (piece.buffer !== buffer || start < 0 || start + piece.length > ram.size)
          throw new Error('a piece is not RAM');
      };
      const checkChain = ({ readable, writable }: Chain): void => {
        popped += 1;
        for (const piece of readable) check(piece);
        for (const piece of writable) check(piece);
      };
      const rounds = await fuzz({ rounds: 8000, seed: 0x0ce0 }, (random) => {
        const size = random.below(12) > 0 ? 2 ** random.below(6) : someNumber(random);
        const places = [0, 0x2000, 0x4000].map((offset) => ram.base + offset);
        if (random.below(4) === 0) places[random.below(3)] = Number(someAddress(random, ram));
        const [desc, avail, used] = places.map(gpa);
        const layout = { size, desc: desc!, avail: avail!, used: used! };
        const features = { indirect: random.below(4) > 0, eventIdx: random.below(2) > 0 };
        const start = random.below(3) > 0 ? 0 : random.below(0x1_0000);
        const queue = contained(
          () => new Queue(layout, ram.memory, features, { nextAvail: start, nextUsed: start }),
        );
        if (!queue) return;
        made += 1;
        scribbleDescriptors(random, ram, ram.base, 32);
        // A table for indirect descriptors that point to where one often lies.
        scribbleDescriptors(random, ram, ram.base + 0x6000, 16);
        if (random.below(2) > 0) {
          const at = ram.base + 16 * random.below(4);
          ram.setU64(at, BigInt(ram.base + 0x6000));
          ram.setU32(at + 8, 16 * random.below(18));
          ram.setU16(at + 12, 4);
        }
        for (let slot = 0; slot < 32; slot += 1) {
          const inRam = avail! >= ram.base && avail! + 4 + 2 * slot + 2 <= ram.end;
          if (inRam)
            ram.setU16(
              avail! + 4 + 2 * slot,
              random.below(20) > 0 ? random.below(size) : random.below(0x1_0000),
            );
        }
        ram.setU16(avail! + 2, random.below(8) > 0 ? start + random.below(size + 1) : random.below(0x1_0000));
        const before = ram.bytes.slice();
        let handed = 0;
        const serve = (chain: Chain): number => {
          checkChain(chain);
          handed += 1;
          return random.next();
        };
        for (let call = 0; call < 4; call += 1) {
          handed = 0;
          switch (random.below(4)) {
            case 0:
              contained(() => queue.each((chain) => void serve(chain)));
              break;
            case 1:
              contained(() => {
                if (queue.pop()) queue.unpop();
              });
              break;
            default:
              contained(() => queue.drain(serve));
          }
          if (handed > size) throw new Error(`${handed} chains in one call for a queue of ${size}`);
        }
        queue.publish();
        const end = used! - ram.base + 6 + 8 * size;
        const outside = (from: number, to: number): boolean =>
          Buffer.compare(ram.bytes.subarray(from, to), before.subarray(from, to)) === 0;
        if (!outside(0, used! - ram.base) || !outside(end, ram.size))
          throw new Error('something beside the used ring changed');
        if (!ram.intact) throw new Error('something outside RAM changed');
      });
      if (rounds < 1000) return;
      expect(made).toBeGreaterThan(rounds / 4);
      expect(popped).toBeGreaterThan(rounds / 4);
    },
    FUZZ_LIMIT,
  );

  it(
    'hands out exactly the chains that a driver posts, however they are cut',
    async () => {
      await fuzz({ rounds: 1000, seed: 0xcafe }, (random) => {
        const size = 2 ** (2 + random.below(5));
        const start = random.pick([0, 0xfff0, 0xffff, random.below(0x1_0000)]);
        const eventIdx = random.below(2) > 0;
        const state = { nextAvail: start, nextUsed: start };
        const { driver, kicks, queue } = bareQueue({ size, eventIdx, state, ram: 64 * KiB });
        driver.startAt(start);
        queue.rearm();
        for (let batch = 0; batch < 6; batch += 1) {
          const expected: { head: number; readable: string; writable: number }[] = [];
          for (let count = random.below(size) + 1; count > 0; count -= 1) {
            const reads: Piece[] = Array.from({ length: random.below(4) }, () =>
              random.bytes(random.below(20)),
            );
            const writes: Piece[] = Array.from({ length: random.below(4) }, () => random.below(20));
            const pieces = [...reads, ...writes];
            if (pieces.length === 0 || pieces.length > size) continue;
            const indirect = random.below(pieces.length + 1);
            if (pieces.length - indirect + Math.min(indirect, 1) > driver.free) break;
            const { head } = driver.add(pieces, { indirect });
            const readable = Buffer.concat(reads as Uint8Array[]).toString('hex');
            expected.push({
              head,
              readable,
              writable: (writes as number[]).reduce((sum, length) => sum + length, 0),
            });
          }
          const kicked = kicks.count;
          driver.kick();
          if (expected.length > 0 && kicks.count !== kicked + 1) throw new Error('no kick');
          driver.usedEvent = queue.state().nextUsed + expected.length - 1;
          const found: typeof expected = [];
          let interrupts = 0;
          for (let more = true; more; ) {
            const result = queue.drain(({ head, readable, writable }) => {
              const written = writable.reduce((sum, { length }) => sum + length, 0);
              found.push({ head, readable: Buffer.concat(readable).toString('hex'), writable: written });
              return written;
            });
            more = result.more;
            if (result.interrupt) interrupts += 1;
          }
          same(found, expected);
          const used = driver.collect().map(({ head, length }) => [head, length]);
          same(
            used,
            expected.map(({ head, writable }) => [head, writable]),
          );
          if (expected.length > 0 && interrupts === 0) throw new Error('no interrupt');
        }
      });
    },
    FUZZ_LIMIT,
  );
});
