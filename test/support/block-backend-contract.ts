/**
 * What every block back end must do, as tests. A back end's test file calls `describeBlockBackend` with a way to make one
 * that holds given bytes; tests of what is its own stand beside that.
 *
 * All randomness comes from a seed (TEST_SEED=… repeats a failure). Buffers are surrounded by guard bytes, so that a back
 * end which writes past its pieces is caught.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BlockBackend } from '../../src/devices/blk/backend.js';
import { readPieces, writePieces } from '../../src/devices/blk/transfer.js';
import { Random } from './random.js';

export interface BackendMaker {
  /** A new disk of `content.length` bytes that reads as `content`. */
  make(content: Uint8Array): Promise<BlockBackend>;
  /** Opens the last disk made again, after it was closed; for back ends that keep what was flushed. */
  reopen?(): Promise<BlockBackend>;
  /** Removes what `make` left behind, after the disk was closed. */
  cleanUp?(): Promise<void>;
}

const SECTOR = 512;
/** Not a multiple of any block size above a sector. */
const SIZE = 2 ** 18 + 3 * SECTOR;
const GUARD = 0xa5;

/** @param rounds of the random tests; the slow back ends want fewer */
export function describeBlockBackend(name: string, maker: BackendMaker, { rounds = 400 } = {}): void {
  describe(name, () => {
    const random = Random.fromEnvironment(name.length * 7919 + 1);
    let content: Uint8Array;
    let disk: BlockBackend;
    let writable: boolean;

    beforeEach(async () => {
      content = random.bytes(SIZE);
      disk = await maker.make(content.slice());
      writable = disk.readOnly !== true && disk.write !== undefined;
    });
    afterEach(async () => {
      await disk.close?.();
      await maker.cleanUp?.();
    });

    /** Reads through pieces of the given lengths and checks that only they were touched. */
    async function readBack(offset: number, lengths: readonly number[], misalign = 0): Promise<Uint8Array> {
      const pieces = lengths.map((length) => guarded(length, misalign));
      await readPieces(
        disk,
        offset,
        pieces.map(({ bytes }) => bytes),
      );
      for (const piece of pieces) piece.check();
      return Buffer.concat(pieces.map(({ bytes }) => bytes));
    }
    const read = (offset: number, length: number): Promise<Uint8Array> => readBack(offset, [length]);
    const write = async (offset: number, from: Uint8Array): Promise<void> => disk.write!(offset, from);
    const expectDisk = async (model: Uint8Array): Promise<void> => {
      const actual = await read(0, SIZE);
      expect(firstDifference(actual, model), `seed ${random.seed}`).toBeUndefined();
    };

    it('has the size it was given, whole sectors, and a preferred unit that is a power of two', () => {
      expect(disk.size).toBe(SIZE);
      const unit = disk.blockSize ?? SECTOR;
      expect(unit).toBeGreaterThanOrEqual(SECTOR);
      expect(Number.isInteger(Math.log2(unit))).toBe(true);
    });

    it.each([
      ['the first sector', 0, SECTOR],
      ['the last sector', SIZE - SECTOR, SECTOR],
      ['a range that crosses blocks of every size', 2 ** 16 - SECTOR, 3 * SECTOR],
      ['everything', 0, SIZE],
      ['nothing', SECTOR, 0],
    ])('reads %s', async (_what, offset, length) => {
      expect(
        firstDifference(await read(offset, length), content.subarray(offset, offset + length)),
      ).toBeUndefined();
    });

    it('reads into pieces of any length at any address', async () => {
      for (const lengths of [
        [512, 512],
        [1, 511, 1024],
        [4096, 4096, 8192],
        [3, 5, 504, 2 ** 16],
        [0, 512, 0],
      ]) {
        const length = lengths.reduce((sum, piece) => sum + piece);
        const got = await readBack(7 * SECTOR, lengths, 3);
        expect(firstDifference(got, content.subarray(7 * SECTOR, 7 * SECTOR + length))).toBeUndefined();
      }
    });

    it('answers many reads at once, each with its own bytes', async () => {
      await Promise.all(
        Array.from({ length: 150 }, async () => {
          const [offset, length] = sectors(random, 64);
          const got = await read(offset, length);
          expect(firstDifference(got, content.subarray(offset, offset + length))).toBeUndefined();
        }),
      );
    });

    it.each([
      ['past the end', SIZE - SECTOR, 2 * SECTOR],
      ['far past the end', 2 ** 50, SECTOR],
      ['before the start', -SECTOR, SECTOR],
      ['at no number', Number.NaN, SECTOR],
    ])('refuses what lies %s and goes on working', async (_what, offset, length) => {
      const buffer = guarded(length, 0);
      await expect((async () => disk.read(offset, buffer.bytes))()).rejects.toThrow(RangeError);
      buffer.check(true);
      if (writable) await expect(write(offset, new Uint8Array(length))).rejects.toThrow(RangeError);
      if (disk.discard)
        await expect((async () => disk.discard!(offset, length))()).rejects.toThrow(RangeError);
      if (disk.writeZeroes) {
        await expect((async () => disk.writeZeroes!(offset, length, true))()).rejects.toThrow(RangeError);
      }
      await expectDisk(content);
    });

    it('writes, and leaves the neighbours alone', async (context) => {
      if (!writable) return context.skip('read-only');
      const model = content.slice();
      for (const [offset, length] of [
        [0, SECTOR],
        [SIZE - SECTOR, SECTOR],
        [2 ** 16 - SECTOR, 2 * SECTOR],
        [5 * SECTOR, 2 ** 17],
        [SECTOR, 0],
      ] as const) {
        const bytes = random.bytes(length);
        model.set(bytes, offset);
        await write(offset, bytes);
      }
      await disk.flush?.();
      await expectDisk(model);
    });

    it('writes from pieces of any length at any address, and does not change them', async (context) => {
      if (!writable) return context.skip('read-only');
      const model = content.slice();
      let offset = 3 * SECTOR;
      for (const lengths of [
        [512, 512],
        [1, 511, 1024],
        [4096, 4096, 8192],
        [3, 5, 504, 2 ** 16],
        [0, 512, 0],
      ]) {
        const pieces = lengths.map((length) => random.bytes(length + 5).subarray(5));
        const before = Buffer.concat(pieces);
        await writePieces(disk, offset, pieces);
        expect(Buffer.concat(pieces).equals(before)).toBe(true);
        model.set(before, offset);
        offset += before.length;
      }
      await expectDisk(model);
    });

    it('keeps every sector of writes that run side by side in one block', async (context) => {
      if (!writable) return context.skip('read-only');
      const model = content.slice();
      const order = Array.from({ length: 256 }, (_, index) => index).sort(() => random.below(3) - 1);
      await Promise.all(
        order.map((sector) => {
          const bytes = random.bytes(SECTOR);
          model.set(bytes, sector * SECTOR);
          return write(sector * SECTOR, bytes);
        }),
      );
      await expectDisk(model);
    });

    it('leaves one or the other, sector by sector, where two writes overlap', async (context) => {
      if (!writable) return context.skip('read-only');
      const [a, b] = [random.bytes(24 * SECTOR), random.bytes(24 * SECTOR)];
      await Promise.all([write(8 * SECTOR, a), write(20 * SECTOR, b)]);
      const model = content.slice();
      model.set(a, 8 * SECTOR);
      model.set(b, 20 * SECTOR);
      const shared = await read(20 * SECTOR, 12 * SECTOR);
      for (let at = 0; at < shared.length; at += SECTOR) {
        const now = shared.subarray(at, at + SECTOR);
        const candidates = [a.subarray(12 * SECTOR + at), b.subarray(at)].map((from) =>
          from.subarray(0, SECTOR),
        );
        expect(candidates.some((candidate) => Buffer.compare(candidate, now) === 0)).toBe(true);
      }
      model.set(shared, 20 * SECTOR);
      await expectDisk(model);
    });

    it.each([true, false])(
      'writes zeroes (may unmap: %s) and leaves the neighbours alone',
      async (mayUnmap) => {
        if (!writable || !disk.writeZeroes) return;
        const model = content.slice();
        for (const [offset, length] of [
          [SECTOR, SECTOR],
          [2 ** 16 - SECTOR, 2 ** 16 + 2 * SECTOR],
          [SIZE - 2 * SECTOR, 2 * SECTOR],
          [9 * SECTOR, 0],
        ] as const) {
          await disk.writeZeroes(offset, length, mayUnmap);
          model.fill(0, offset, offset + length);
        }
        await expectDisk(model);
        await disk.writeZeroes(0, SIZE, mayUnmap);
        await expectDisk(new Uint8Array(SIZE));
        await write(4 * SECTOR, content.subarray(0, SECTOR));
        const last = new Uint8Array(SIZE);
        last.set(content.subarray(0, SECTOR), 4 * SECTOR);
        await expectDisk(last);
      },
    );

    it('discards: old bytes or zeroes there, the neighbours alone, and room for new ones', async () => {
      if (!writable || !disk.discard) return;
      const bytes = random.bytes(2 ** 17);
      await write(2 ** 16, bytes);
      const written = content.slice();
      written.set(bytes, 2 ** 16);
      const [offset, length] = [2 ** 16 + SECTOR, 2 ** 16 + 5 * SECTOR];
      await disk.discard(offset, length);
      const now = await read(0, SIZE);
      for (let at = offset; at < offset + length; at += SECTOR) {
        const sector = now.subarray(at, at + SECTOR);
        const allowed = [written, content, new Uint8Array(SIZE)].map((from) =>
          from.subarray(at, at + SECTOR),
        );
        expect(allowed.some((candidate) => Buffer.compare(candidate, sector) === 0)).toBe(true);
        written.set(sector, at);
      }
      expect(firstDifference(now, written)).toBeUndefined();
      const again = random.bytes(length);
      await write(offset, again);
      written.set(again, offset);
      await expectDisk(written);
    });

    it('agrees with a model over random requests, many in flight', async (context) => {
      if (!writable) return context.skip('read-only');
      const model = content.slice();
      const busy = new Set<Promise<void>>();
      const taken: { start: number; end: number }[] = [];
      for (let round = 0; round < rounds; round += 1) {
        const [offset, length] = sectors(random, 200);
        const range = { start: offset, end: offset + length };
        // Requests that overlap may take effect in any order: wait for those in flight.
        while (taken.some(({ start, end }) => start < range.end && range.start < end) || busy.size >= 48) {
          await Promise.race(busy);
        }
        taken.push(range);
        const work = request(
          random,
          disk,
          model,
          offset,
          length,
          `round ${round}, seed ${random.seed}`,
        ).finally(() => {
          taken.splice(taken.indexOf(range), 1);
          busy.delete(work);
        });
        busy.add(work);
      }
      await Promise.all(busy);
      await expectDisk(model);
    });

    it('keeps what was flushed when it is closed and opened again', async (context) => {
      if (!writable || !maker.reopen) return context.skip('does not keep anything');
      const model = content.slice();
      const bytes = random.bytes(3 * SECTOR);
      await write(2 ** 16 - SECTOR, bytes);
      model.set(bytes, 2 ** 16 - SECTOR);
      await disk.flush?.();
      await disk.close?.();
      disk = await maker.reopen();
      await expectDisk(model);
    });
  });
}

/** One random request and what it does to the model. */
async function request(
  random: Random,
  disk: BlockBackend,
  model: Uint8Array,
  offset: number,
  length: number,
  where: string,
): Promise<void> {
  const choices = ['read', 'read', 'write', 'write', 'write'];
  if (disk.flush) choices.push('flush');
  if (disk.writeZeroes) choices.push('zeroes');
  switch (random.pick(choices)) {
    case 'read': {
      const expected = model.slice(offset, offset + length);
      const buffer = guarded(length, random.below(2));
      await readPieces(disk, offset, cut(random, buffer.bytes));
      buffer.check();
      expect(firstDifference(buffer.bytes, expected), where).toBeUndefined();
      break;
    }
    case 'write': {
      const bytes = random.bytes(length);
      model.set(bytes, offset);
      await writePieces(disk, offset, cut(random, bytes));
      break;
    }
    case 'zeroes':
      model.fill(0, offset, offset + length);
      await disk.writeZeroes!(offset, length, random.below(2) === 0);
      break;
    default:
      await disk.flush!();
  }
}

/** A range of 1 to `most` sectors on the disk; often short, and crowded near the start so that ranges meet. */
function sectors(random: Random, most: number): [offset: number, length: number] {
  const count = 1 + random.below(random.below(2) === 0 ? 8 : most);
  const room = SIZE / SECTOR - count;
  const first = random.below(random.below(2) === 0 ? Math.min(room, 512) : room);
  return [first * SECTOR, count * SECTOR];
}

/** The same bytes in one to four pieces. */
function cut(random: Random, bytes: Uint8Array): Uint8Array[] {
  const cuts = Array.from({ length: random.below(4) }, () => random.below(bytes.length + 1));
  const ends = [0, ...cuts.sort((a, b) => a - b), bytes.length];
  return ends.slice(1).map((end, index) => bytes.subarray(ends[index], end));
}

/** A buffer inside another, whose edges must stay as they are. */
function guarded(length: number, misalign: number): { bytes: Uint8Array; check(untouched?: boolean): void } {
  const whole = new Uint8Array(length + 128).fill(GUARD);
  const bytes = whole.subarray(64 + misalign, 64 + misalign + length);
  return {
    bytes,
    check(untouched = false) {
      const edges = [whole.subarray(0, 64 + misalign), whole.subarray(64 + misalign + length)];
      expect(edges.every((edge) => edge.every((byte) => byte === GUARD))).toBe(true);
      if (untouched) expect(bytes.every((byte) => byte === GUARD)).toBe(true);
    },
  };
}

/** The offset of the first byte that differs: megabytes in an assertion's message help nobody. */
function firstDifference(actual: Uint8Array, expected: Uint8Array): string | undefined {
  if (Buffer.compare(actual, expected) === 0) return undefined;
  const at = expected.findIndex((byte, index) => actual[index] !== byte);
  return `differ at ${at} (sector ${Math.floor(at / SECTOR)}) of ${expected.length}`;
}
