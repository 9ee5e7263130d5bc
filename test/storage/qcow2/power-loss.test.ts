/**
 * Power fails at any moment, and of the writes since the last sync any sectors have reached the disk, in any order: the image
 * must be sound, and everything that a flush covered must be there.
 */
import { describe, expect, it } from 'vitest';
import type { Qcow2Image } from '../../../src/backends/qcow2/image.js';
import { PowerLossFile } from '../../support/power-loss-file.js';
import { type BuildOptions, buildQcow2 } from '../../support/qcow2-builder.js';
import { checkQcow2 } from '../../support/qcow2-check.js';
import { openFiles, openInMemory, readAll } from '../../support/qcow2-memory.js';
import { Random } from '../../support/random.js';
import { SectorHistory, stamp, stamps } from '../../support/sector-history.js';

const SECTOR = 512;

interface Crash {
  readonly state: Uint8Array;
  readonly allowed: readonly ReadonlySet<number>[];
}

const shapes: readonly (Omit<BuildOptions, 'size'> & { sectors: number })[] = [
  { sectors: 1024, clusterBits: 9, refcountOrder: 6 },
  { sectors: 1024, clusterBits: 10, refcountOrder: 4 },
  { sectors: 1024, clusterBits: 12, refcountOrder: 0 },
  { sectors: 1024, clusterBits: 12, version: 2 },
  { sectors: 2048, clusterBits: 16, backing: { name: 'base', format: 'raw' } },
  { sectors: 12288, clusterBits: 9, refcountOrder: 6 }, // outgrows its refcount table
];

async function live(
  image: Qcow2Image,
  random: Random,
  history: SectorHistory,
  requests: number,
): Promise<void> {
  const sectors = image.size / SECTOR;
  const busy = new Set<number>();
  const running = new Set<Promise<void>>();
  const start = (work: Promise<void>): void => {
    const tracked = work.finally(() => running.delete(tracked));
    running.add(tracked);
  };
  for (let id = 1; id <= requests; id += 1) {
    const most = random.chance(0.1) ? 256 : 24;
    const first = random.below(sectors);
    const count = Math.min(sectors - first, 1 + random.below(most));
    const range = Array.from({ length: count }, (_, index) => first + index);
    if (random.chance(0.12)) {
      const flushed = history.beginFlush();
      start(image.flush().then(flushed));
    } else if (!range.some((sector) => busy.has(sector))) {
      for (const sector of range) busy.add(sector);
      const kind = random.below(8);
      const done = history.begin(first, count, kind < 6 ? id : 0, kind === 7);
      const request =
        kind < 6
          ? image.write(first * SECTOR, stamp(count, id))
          : kind === 6
            ? image.writeZeroes(first * SECTOR, count * SECTOR, random.chance(0.5))
            : image.discard(first * SECTOR, count * SECTOR);
      start(
        Promise.resolve(request).then(() => {
          done();
          for (const sector of range) busy.delete(sector);
        }),
      );
    }
    while (running.size > 6) await Promise.race(running);
  }
  await Promise.all(running);
}

describe.each(shapes)(
  'an image with $sectors sectors, clusters of 2^$clusterBits bytes',
  ({ sectors, ...shape }) => {
    it.each([1, 2, 3])('is sound and keeps what was flushed whenever power fails (seed %i)', async (seed) => {
      const random = new Random(seed * 1000 + (shape.clusterBits ?? 0) + (shape.refcountOrder ?? 0));
      const backing = new PowerLossFile(new Uint8Array(sectors * SECTOR));
      const file = new PowerLossFile(buildQcow2({ ...shape, size: sectors * SECTOR }));
      const history = new SectorHistory(sectors);
      const crashes: Crash[] = [];
      const mayFail = (): void => {
        if (!random.chance(sectors > 4096 ? 0.004 : sectors > 1024 ? 0.3 : 0.06)) return;
        const survival = random.pick([0, 0.1, 0.5, 0.9, 1]);
        const state = file.afterPowerLoss(
          () => random.chance(survival),
          (writes) => random.shuffle(writes),
        );
        crashes.push({ state, allowed: history.allowed() });
      };
      file.beforeWrite = mayFail;
      file.beforeSync = mayFail;
      file.delay = () =>
        random.chance(0.3) ? new Promise((resolve) => setImmediate(resolve)) : Promise.resolve();
      const image = await openFiles({ '/top': file, '/base': backing });
      await live(image, random, history, sectors > 4096 ? 1200 : 250);
      await image.close();
      expect(checkQcow2(file.image)).toEqual({ errors: [], leaks: 0 });
      if (sectors > 4096) expect(new DataView(file.image.buffer).getUint32(56)).toBeGreaterThan(1);

      expect(crashes.length).toBeGreaterThan(5);
      for (const { state, allowed } of crashes) {
        expect(checkQcow2(state).errors).toEqual([]);
        const after = await openFiles({ '/top': new PowerLossFile(state), '/base': backing });
        const wrong = stamps(await readAll(after))
          .map((contents, sector) => ({ sector, contents }))
          .filter(({ contents, sector }) => !allowed[sector]!.has(contents));
        expect(wrong).toEqual([]);
        await after.write(0, stamp(8, 4711)); // life goes on, leaks and all
        await after.close();
      }
    });
  },
);

it('reference counts are on disk before the table names them, and a larger table before the header does', async () => {
  // 64 counts to a block, 64 blocks to the first table: 2 MiB of file. The last blocks, and the growth, are watched.
  const random = new Random(99);
  const file = new PowerLossFile(buildQcow2({ size: 4 * 2 ** 20, clusterBits: 9, refcountOrder: 6 }));
  const image = await openFiles({ '/top': file });
  const tableClusters = (): number => new DataView(file.image.buffer).getUint32(56);
  let sector = 0;
  const write = async (): Promise<void> => {
    await image.write(sector * SECTOR, stamp(16, sector + 1));
    sector += 16;
  };
  while (file.size < 62 * 64 * SECTOR) await write();
  await image.flush();
  expect(tableClusters()).toBe(1);
  let states = 0;
  file.beforeSync = () => {
    for (const survival of [0.2, 0.5, 0.8, 0.95]) {
      const state = file.afterPowerLoss(
        () => random.chance(survival),
        (writes) => random.shuffle(writes),
      );
      states += 1;
      expect(checkQcow2(state).errors).toEqual([]);
    }
  };
  while (tableClusters() === 1) {
    await write();
    await image.flush();
  }
  await write();
  await image.close();
  expect(states).toBeGreaterThan(60);
  expect(checkQcow2(file.image)).toEqual({ errors: [], leaks: 0 });
});

it('the model of power loss itself loses what was not synced', async () => {
  const { image, file } = await openInMemory(buildQcow2({ size: 2 ** 20 }));
  await image.write(0, stamp(1, 1));
  await image.flush();
  await image.write(0, stamp(1, 2));
  const lost = await openInMemory(
    file.afterPowerLoss(
      () => false,
      (writes) => writes,
    ),
  );
  const kept = await openInMemory(
    file.afterPowerLoss(
      () => true,
      (writes) => writes,
    ),
  );
  expect(stamps(await readAll(lost.image))[0]).toBe(1);
  expect(stamps(await readAll(kept.image))[0]).toBe(2);
});
