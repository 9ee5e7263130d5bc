import { describe, expect, it } from 'vitest';
import { MemoryDisk } from '../../../src/backends/memory-disk.js';
import { describeBlockBackend } from '../../support/block-backend-contract.js';

describe('a memory disk', () => {
  describeBlockBackend('that is sparse', {
    async make(content) {
      const disk = new MemoryDisk(content.length);
      disk.write(0, content);
      return disk;
    },
  });

  describeBlockBackend("over the caller's bytes", { make: async (content) => new MemoryDisk(content) });

  it("writes into the caller's bytes", () => {
    const bytes = new Uint8Array(1024);
    new MemoryDisk(bytes).write(512, new Uint8Array(512).fill(7));
    expect(bytes.subarray(510, 514)).toEqual(Uint8Array.of(0, 0, 7, 7));
  });

  it('leaves out what is no whole sector', () => {
    expect(new MemoryDisk(1000).size).toBe(512);
    expect(new MemoryDisk(new Uint8Array(1535)).size).toBe(1024);
  });

  it.each([0, 511, -512, 512.5, Number.NaN, 2 ** 60])('refuses a size of %d', (size) => {
    expect(() => new MemoryDisk(size)).toThrow(RangeError);
  });

  it('takes memory where it was written, and gives it back', () => {
    const disk = new MemoryDisk(2 ** 40);
    expect(disk.allocated).toBe(0);
    disk.write(2 ** 39, new Uint8Array(512).fill(1));
    expect(disk.allocated).toBe(2 ** 16);
    disk.discard(0, 2 ** 39 + 2 ** 20);
    expect(disk.allocated).toBe(0);
  });
});
