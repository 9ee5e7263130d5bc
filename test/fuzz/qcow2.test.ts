/**
 * Images with damaged or crafted structures, opened, read and written: every request ends, with bytes or with an error, after a
 * bounded number of accesses to the file; and nothing that a guest writes ever lands in the header, which names files of
 * the host, or in the tables that it names. FUZZ_ROUNDS and TEST_SEED repeat or extend a run.
 */
import { deflateRawSync } from 'node:zlib';
import { expect, it } from 'vitest';
import type { Qcow2Image } from '../../src/backends/qcow2/image.js';
import { ImageError } from '../../src/backends/qcow2/image-error.js';
import { PowerLossFile } from '../support/power-loss-file.js';
import { buildQcow2 } from '../support/qcow2-builder.js';
import { openFiles, openInMemory } from '../support/qcow2-memory.js';
import { Random } from '../support/random.js';

const ROUNDS = Number(process.env['FUZZ_ROUNDS'] ?? 1500);
const SIZE = 2 ** 20;
/** A write of the guest that would grow the file further is refused, as a full disk would. */
const MOST_BYTES = 16 * 2 ** 20;
/** Accesses for one request of 64 KiB: its clusters of 512 bytes, each with tables, counts and copies around it. */
const MOST_ACCESSES = 4000;
const COPIED = 1n << 63n;

interface Sample {
  readonly bytes: Uint8Array;
  readonly clusterBits: number;
  /** Byte ranges that hold structures: where damage is interesting. */
  readonly structures: readonly (readonly [from: number, to: number])[];
}

/** An image with data, zero clusters, a compressed cluster, and room behind its tables. */
async function sample(clusterBits: number, refcountOrder: number, version: 2 | 3): Promise<Sample> {
  const cluster = 2 ** clusterBits;
  const { image, file } = await openInMemory(buildQcow2({ size: SIZE, clusterBits, refcountOrder, version }));
  const random = new Random(clusterBits);
  for (let index = 0; index < 12; index += 1) {
    await image.write(random.below(SIZE / 512 - 64) * 512, random.compressible(512 * (1 + random.below(32))));
  }
  if (version === 3) await image.writeZeroes(0, 2 * cluster, false);
  await image.close();
  const data = deflateRawSync(new Uint8Array(cluster).fill(7));
  const bytes = new Uint8Array(file.size + cluster);
  bytes.set(file.image);
  bytes.set(data, file.size);
  const view = new DataView(bytes.buffer);
  const l1 = Number(view.getBigUint64(40));
  const tables: number[] = [];
  for (let index = 0; index < view.getUint32(36); index += 1) {
    const offset = Number(view.getBigUint64(l1 + index * 8) & ~COPIED);
    if (offset !== 0) tables.push(offset);
  }
  const sectors = BigInt(Math.floor((data.length - 1) / 512));
  view.setBigUint64(
    tables[0]! + cluster - 8,
    (1n << 62n) | (sectors << BigInt(62 - (clusterBits - 8))) | BigInt(file.size),
  );
  const table = Number(view.getBigUint64(48));
  const block = Number(view.getBigUint64(table));
  const structures = [
    [0, 112],
    [table, table + 64],
    [block, block + cluster],
    [l1, l1 + view.getUint32(36) * 8],
    ...tables.map((offset) => [offset, offset + cluster] as const),
    [file.size, file.size + data.length],
  ] as const;
  return { bytes, clusterBits, structures };
}

function damage({ bytes, structures, clusterBits }: Sample, random: Random): Uint8Array {
  const broken = bytes.slice();
  const view = new DataView(broken.buffer);
  for (let count = 1 + random.below(6); count > 0; count -= 1) {
    const [from, to] = random.pick(structures);
    const at = from + random.below((to - from) / 8) * 8;
    const cluster = BigInt(random.below(bytes.length / 2 ** clusterBits + 2)) << BigInt(clusterBits);
    const flags = random.pick([0n, COPIED, COPIED, 1n << 62n, COPIED | 1n, 1n]);
    switch (random.below(6)) {
      case 0:
        broken[at + random.below(8)] = random.below(256);
        break;
      case 1:
        view.setBigUint64(at, cluster | flags);
        break;
      case 2:
        view.setBigUint64(at, random.pick([0n, 1n, 2n ** 64n - 1n, 2n ** 63n, 2n ** 56n - 512n, 511n]));
        break;
      case 3:
        view.setBigUint64(at, view.getBigUint64(from + random.below((to - from) / 8) * 8)); // two names for one thing
        break;
      case 4:
        view.setUint32(at + 4 * random.below(2), random.next());
        break;
      default:
        broken[at + random.below(8)] = broken[at + random.below(8)]! ^ (1 << random.below(8));
    }
  }
  return random.chance(0.05) ? broken.slice(0, random.below(broken.length)) : broken;
}

/** The header without what this back end itself may change: the place of the refcount table, and the autoclear bits. */
function fixed(bytes: Uint8Array): Uint8Array {
  const header = bytes.slice(0, 512);
  header.fill(0, 48, 60);
  header.fill(0, 88, 96);
  return header;
}

/** Whether the guest's pattern stands in the table that leads to everything, or in the one that counts it. */
function overwritten(image: Uint8Array): boolean {
  const view = new DataView(image.buffer, image.byteOffset, image.length);
  const ranges = [
    { start: Number(view.getBigUint64(40)), length: view.getUint32(36) * 8 },
    { start: Number(view.getBigUint64(48)), length: view.getUint32(56) * 2 ** view.getUint32(20) },
  ];
  return ranges.some(({ start, length }) => {
    for (let at = start; at + 8 <= Math.min(start + length, image.length); at += 8) {
      if (view.getBigUint64(at) === 0xabab_abab_abab_ababn) return true;
    }
    return false;
  });
}

/** Anything else is a mistake of ours. */
const expected = (error: unknown): boolean =>
  error instanceof ImageError || (error instanceof Error && error.message === 'ENOSPC');

async function use(image: Qcow2Image, random: Random, accesses: () => number): Promise<number> {
  let done = 0;
  for (let index = 0; index < 12; index += 1) {
    const before = accesses();
    const length = Math.min(image.size, 512 * (1 + random.below(128)));
    const offset = random.below((image.size - length) / 512 + 1) * 512;
    const guest = new Uint8Array(length).fill(0xab);
    try {
      const kind = random.below(8);
      if (image.readOnly || kind < 2) await image.read(offset, guest);
      else if (kind < 5) await image.write(offset, guest);
      else if (kind === 5) await image.discard(offset, length);
      else if (kind === 6) await image.writeZeroes(offset, length, random.chance(0.5));
      else await image.flush();
      done += 1;
    } catch (error) {
      if (!expected(error)) throw error;
    }
    expect(accesses() - before).toBeLessThan(MOST_ACCESSES);
  }
  return done;
}

it('damaged images give errors or bytes, in bounded work, and no guest reaches the header', async () => {
  const random = Random.fromEnvironment(20260101);
  const samples = await Promise.all([
    sample(9, 4, 3),
    sample(9, 6, 3),
    sample(12, 4, 2),
    sample(12, 0, 3),
    sample(16, 4, 3),
  ]);
  const count = { opened: 0, refused: 0, requests: 0, alike: 0 };
  for (let round = 0; round < ROUNDS; round += 1) {
    const bytes = damage(random.pick(samples), random);
    const file = new PowerLossFile(bytes);
    let accesses = 0;
    file.delay = async () => {
      accesses += 1;
    };
    file.beforeWrite = (offset, length) => {
      if (offset + length > MOST_BYTES) throw new Error('ENOSPC');
    };
    const started = performance.now();
    let image: Qcow2Image | undefined;
    try {
      image = await openFiles({ '/top': file }, { readOnly: random.chance(0.2) });
    } catch (error) {
      if (!expected(error)) throw error;
      count.refused += 1;
    }
    if (image) {
      const before = overwritten(bytes); // damage may have made a table of data that looks like it
      if (before) count.alike += 1;
      count.opened += 1;
      count.requests += await use(image, random, () => accesses);
      await image.close().catch(() => {});
      expect(!before && overwritten(file.image), `round ${round}, seed ${random.seed}`).toBe(false);
      expect(Buffer.compare(fixed(file.image), fixed(bytes)), `round ${round}, seed ${random.seed}`).toBe(0);
    }
    expect(performance.now() - started, `round ${round}, seed ${random.seed}`).toBeLessThan(10_000);
  }
  expect(count.alike).toBeLessThan(count.opened / 100);
  expect(count.opened).toBeGreaterThan(ROUNDS / 10);
  expect(count.refused).toBeGreaterThan(ROUNDS / 10);
  expect(count.requests).toBeGreaterThan(ROUNDS);
});
