import { describe, expect, it } from 'vitest';
import { FaultyDisk } from '../../../src/backends/faulty-disk.js';
import { MemoryDisk } from '../../../src/backends/memory-disk.js';
import { describeBlockBackend } from '../../support/block-backend-contract.js';

describe('a faulty disk', () => {
  describeBlockBackend('without faults', {
    make: async (content) => new FaultyDisk(new MemoryDisk(content)),
  });
  describeBlockBackend(
    'that is only slow',
    {
      async make(content) {
        const disk = new FaultyDisk(new MemoryDisk(content));
        disk.inject({ delayMs: 1 });
        return disk;
      },
    },
    { rounds: 100 },
  );

  const setUp = (): FaultyDisk => new FaultyDisk(new MemoryDisk(8192));
  const sector = new Uint8Array(512).fill(1);

  it('fails the operation it is told to, with the error it is told', async () => {
    const disk = setUp();
    disk.inject({ operation: 'write', error: 'ENOSPC' });
    await expect(disk.write!(0, sector)).rejects.toMatchObject({
      errnoName: 'ENOSPC',
      errno: 28,
      syscall: 'write',
    });
    await disk.read(0, new Uint8Array(512));
    await disk.flush();
  });

  it('fails only where it is told to', async () => {
    const disk = setUp();
    disk.inject({ from: 1024, to: 2048, error: 'EIO' });
    await disk.write!(0, new Uint8Array(1024));
    await disk.write!(2048, sector);
    await expect(disk.write!(512, new Uint8Array(1024))).rejects.toThrow('EIO');
    await expect(disk.read(1536, new Uint8Array(512))).rejects.toThrow('EIO');
    await expect(disk.discard!(0, 8192)).rejects.toThrow('EIO');
  });

  it('fails only as often as it is told to, and after as many', async () => {
    const disk = setUp();
    disk.inject({ operation: 'flush', skip: 1, times: 2, error: 'EIO' });
    const outcomes: string[] = [];
    for (let n = 0; n < 5; n += 1) {
      outcomes.push(
        await Promise.resolve(disk.flush()).then(
          () => 'fine',
          () => 'failed',
        ),
      );
    }
    expect(outcomes).toEqual(['fine', 'failed', 'failed', 'fine', 'fine']);
  });

  it('stops when the fault is taken away', async () => {
    const disk = setUp();
    const heal = disk.inject({ error: 'EIO' });
    await expect(disk.writeZeroes!(0, 512, true)).rejects.toThrow('EIO');
    heal();
    await disk.writeZeroes!(0, 512, true);
  });

  it('does a part before it fails', async () => {
    const disk = setUp();
    disk.inject({ operation: 'write', times: 1, error: 'EIO', partial: 700 });
    await expect(disk.writev!(0, [sector, sector])).rejects.toThrow('EIO');
    const now = new Uint8Array(1024);
    await disk.read(0, now);
    expect(now.filter((byte) => byte === 1).length).toBe(700);
  });

  it('is late by as much as it is told', async () => {
    const disk = setUp();
    disk.inject({ operation: 'read', delayMs: 40 });
    const start = performance.now();
    await disk.read(0, new Uint8Array(512));
    expect(performance.now() - start).toBeGreaterThanOrEqual(39);
  });
});
