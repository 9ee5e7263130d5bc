import { writeFile } from 'node:fs/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { FaultyDisk } from '../../../src/backends/faulty-disk.js';
import { FileDisk } from '../../../src/backends/file-disk.js';
import { MemoryDisk } from '../../../src/backends/memory-disk.js';
import { OverlayDisk } from '../../../src/backends/overlay-disk.js';
import { describeBlockBackend } from '../../support/block-backend-contract.js';
import { Random } from '../../support/random.js';
import { scratch } from '../../support/scratch.js';

describe('an overlay', () => {
  const folder = scratch();
  afterAll(() => folder[Symbol.dispose]());

  describeBlockBackend('in memory over bytes', {
    make: async (content) => new OverlayDisk(new MemoryDisk(content, { readOnly: true })),
  });
  describeBlockBackend('of 64 KiB blocks', {
    make: async (content) => new OverlayDisk(new MemoryDisk(content), { blockSize: 2 ** 16 }),
  });
  describeBlockBackend('of single sectors', {
    make: async (content) => new OverlayDisk(new MemoryDisk(content), { blockSize: 512 }),
  });
  describeBlockBackend('in a file over a read-only file', {
    async make(content) {
      await writeFile(folder.path('base'), content);
      await writeFile(folder.path('top'), '');
      const top = await FileDisk.open(folder.path('top'), { minimumSize: content.length });
      return new OverlayDisk(await FileDisk.open(folder.path('base'), { readOnly: true }), { top });
    },
  });
  describeBlockBackend(
    'over and in slow disks',
    {
      make: async (content) =>
        new OverlayDisk(slow(new MemoryDisk(content)), { top: slow(new MemoryDisk(content.length)) }),
    },
    { rounds: 100 },
  );

  /** Answers in a later turn, which is where races live. */
  function slow(disk: MemoryDisk): FaultyDisk {
    const wrapped = new FaultyDisk(disk);
    wrapped.inject({ delayMs: 0 });
    return wrapped;
  }

  const SIZE = 2 ** 18;
  function setUp() {
    const content = new Random(7).bytes(SIZE);
    const before = content.slice();
    const base = new MemoryDisk(content);
    const top = new MemoryDisk(SIZE);
    const disk = new OverlayDisk(base, { top });
    const all = async (): Promise<Uint8Array> => {
      const bytes = new Uint8Array(SIZE);
      await disk.read(0, bytes);
      return bytes;
    };
    return { content, before, base, top, disk, all };
  }

  it('never writes to its base', async () => {
    const { content, before, disk } = setUp();
    await disk.write(1024, new Uint8Array(8192).fill(1));
    await disk.writeZeroes(2 ** 17, 2 ** 16, true);
    await disk.discard(0, 2 ** 16);
    await disk.flush();
    expect(Buffer.compare(content, before)).toBe(0);
  });

  it('is the base again after a reset, and the top gave its memory back', async () => {
    const { before, disk, top, all } = setUp();
    await disk.write(0, new Uint8Array(SIZE).fill(9));
    expect(top.allocated).toBe(SIZE);
    await disk.reset();
    expect(Buffer.compare(await all(), before)).toBe(0);
    expect(top.allocated).toBe(0);
    await disk.write(512, new Uint8Array(512).fill(3));
    before.fill(3, 512, 1024);
    expect(Buffer.compare(await all(), before)).toBe(0);
  });

  it('waits with a reset for writes in flight', async () => {
    const { before, base } = setUp();
    const top = slow(new MemoryDisk(SIZE));
    const disk = new OverlayDisk(base, { top });
    await Promise.all([disk.write(512, new Uint8Array(512).fill(1)), disk.reset()]);
    const now = new Uint8Array(SIZE);
    await disk.read(0, now);
    expect(Buffer.compare(now, before)).toBe(0);
    expect(disk.map().every((byte) => byte === 0)).toBe(true);
  });

  it('takes only the blocks it needs', async () => {
    const { disk, top } = setUp();
    await disk.write(5 * 4096, new Uint8Array(4096));
    await disk.write(6 * 4096 + 512, new Uint8Array(512));
    expect([...disk.map()]).toEqual([0b0110_0000, ...Array.from({ length: SIZE / 4096 / 8 - 1 }, () => 0)]);
    expect(top.allocated).toBe(2 ** 16);
  });

  it('reads the base where blocks were discarded', async () => {
    const { before, disk, all } = setUp();
    await disk.write(0, new Uint8Array(4 * 4096).fill(5));
    await disk.discard(4096, 2 * 4096);
    before.fill(5, 0, 4096);
    before.fill(5, 3 * 4096, 4 * 4096);
    expect(Buffer.compare(await all(), before)).toBe(0);
  });

  it('shows zeroes, not the base, where zeroes were written', async () => {
    const { before, disk, all } = setUp();
    await disk.writeZeroes(512, SIZE - 1024, true);
    before.fill(0, 512, SIZE - 512);
    expect(Buffer.compare(await all(), before)).toBe(0);
  });

  it('goes on from a map and its top', async () => {
    const { base, disk, top, all } = setUp();
    await disk.write(8192, new Uint8Array(4096).fill(4));
    const again = new OverlayDisk(base, { top, map: disk.map() });
    const bytes = new Uint8Array(SIZE);
    await again.read(0, bytes);
    expect(Buffer.compare(bytes, await all())).toBe(0);
  });

  it('keeps showing the base where a write to the top failed', async () => {
    const { before, base } = setUp();
    const top = new FaultyDisk(new MemoryDisk(SIZE));
    const disk = new OverlayDisk(base, { top });
    top.inject({ operation: 'write', error: 'ENOSPC', partial: 1024, times: 1 });
    await expect((async () => disk.write(512, new Uint8Array(2048)))()).rejects.toMatchObject({
      errnoName: 'ENOSPC',
    });
    const now = new Uint8Array(SIZE);
    await disk.read(0, now);
    expect(Buffer.compare(now, before)).toBe(0);
    await disk.write(512, new Uint8Array(2048).fill(1));
    await disk.read(0, now);
    before.fill(1, 512, 2560);
    expect(Buffer.compare(now, before)).toBe(0);
  });

  it('passes the errors of its base on', async () => {
    const { base } = setUp();
    const faulty = new FaultyDisk(base);
    faulty.inject({ operation: 'read', error: 'EIO' });
    const disk = new OverlayDisk(faulty);
    await expect((async () => disk.read(0, new Uint8Array(512)))()).rejects.toMatchObject({
      errnoName: 'EIO',
    });
    await expect((async () => disk.write(0, new Uint8Array(512)))()).rejects.toMatchObject({
      errnoName: 'EIO',
    });
    await disk.write(0, new Uint8Array(4096)); // whole blocks need no base
  });

  it.each([
    ['a top that is too small', { top: new MemoryDisk(512) }],
    ['a read-only top', { top: new MemoryDisk(SIZE, { readOnly: true }) }],
    ['blocks of 1000 bytes', { blockSize: 1000 }],
    ['blocks of 256 bytes', { blockSize: 256 }],
    ['a map of another size', { map: new Uint8Array(3) }],
  ])('refuses %s', (_what, options) => {
    expect(() => new OverlayDisk(new MemoryDisk(SIZE), options)).toThrow(RangeError);
  });
});
