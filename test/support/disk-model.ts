/**
 * Random requests against a disk and against a plain array, compared as they go. Requests of one round are in flight
 * together and do not overlap, so that what the disk must hold afterwards is known.
 */
import { expect } from 'vitest';
import type { BlockBackend } from '../../src/devices/blk/backend.js';
import type { Random } from './random.js';

const SECTOR = 512;

export interface ModelOptions {
  readonly rounds: number;
  /** Largest request, bytes. */
  readonly most: number;
  readonly together?: number;
  /** Probability that a round ends in a flush. */
  readonly flush?: number;
  /** Told after each flush. */
  readonly flushed?: () => void;
}

/** The parts of a disk that a writer uses. */
type WritableDisk = Required<
  Pick<BlockBackend, 'read' | 'readv' | 'write' | 'writev' | 'flush' | 'discard' | 'writeZeroes'>
> & {
  readonly size: number;
};

/** @param model what the disk holds now; changed along */
export async function exercise(
  disk: WritableDisk,
  model: Uint8Array,
  random: Random,
  { rounds, most, together = 4, flush = 0.1, flushed }: ModelOptions,
): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    const taken: { from: number; to: number }[] = [];
    const requests: Promise<void>[] = [];
    for (let index = 0; index < together; index += 1) {
      const from = random.below(disk.size / SECTOR) * SECTOR;
      const longest = random.chance(0.2) ? most : most / 8;
      const to = Math.min(disk.size, from + (1 + random.below(longest / SECTOR)) * SECTOR);
      if (taken.some((other) => from < other.to && other.from < to)) continue;
      taken.push({ from, to });
      requests.push(request(disk, model, random, from, to));
    }
    await Promise.all(requests);
    if (random.chance(flush)) {
      await disk.flush();
      flushed?.();
    }
  }
}

async function request(
  disk: WritableDisk,
  model: Uint8Array,
  random: Random,
  from: number,
  to: number,
): Promise<void> {
  const length = to - from;
  const what = random.below(10);
  if (what < 5) {
    const bytes = random.bytes(length);
    const cut = random.below(length);
    model.set(bytes, from);
    if (random.chance(0.5)) await disk.write(from, bytes);
    else await disk.writev(from, [bytes.subarray(0, cut), bytes.subarray(cut)]);
  } else if (what < 8) {
    const bytes = new Uint8Array(length);
    const cut = random.below(length);
    if (random.chance(0.5)) await disk.read(from, bytes);
    else await disk.readv(from, [bytes.subarray(0, cut), bytes.subarray(cut)]);
    expect(Buffer.compare(bytes, model.subarray(from, to)), `read ${from} … ${to}`).toBe(0);
  } else if (what < 9) {
    model.fill(0, from, to);
    await disk.writeZeroes(from, length, random.chance(0.5));
  } else {
    await disk.discard(from, length);
    // Old bytes or zeroes, the disk may choose: afterwards the model knows.
    const now = new Uint8Array(length);
    await disk.read(from, now);
    for (let at = 0; at < length; at += SECTOR) {
      const sector = now.subarray(at, at + SECTOR);
      const old = model.subarray(from + at, from + at + SECTOR);
      if (Buffer.compare(sector, old) !== 0)
        expect(
          sector.every((byte) => byte === 0),
          'discarded',
        ).toBe(true);
      old.set(sector);
    }
  }
}
