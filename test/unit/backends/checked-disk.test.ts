import { describe, expect, it } from 'vitest';
import { CheckedDisk } from '../../../src/backends/checked-disk.js';
import { MemoryDisk } from '../../../src/backends/memory-disk.js';
import { ConfigError } from '../../../src/base/errors.js';
import type { BlockBackend } from '../../../src/devices/blk/backend.js';
import { describeBlockBackend } from '../../support/block-backend-contract.js';

/** What an embedder would write: no vectors, no classes, no checks. */
function plain(content: Uint8Array, later = false): BlockBackend {
  const maybeLater = (): undefined | Promise<void> =>
    later ? new Promise<void>((resolve) => setImmediate(resolve)) : undefined;
  return {
    size: content.length,
    read(offset, into) {
      into.set(content.subarray(offset, offset + into.length));
      return maybeLater();
    },
    write(offset, from) {
      content.set(from, offset);
      return maybeLater();
    },
  };
}

describe("an embedder's disk", () => {
  describeBlockBackend('that answers at once', { make: async (content) => new CheckedDisk(plain(content)) });
  describeBlockBackend('that answers later', {
    make: async (content) => new CheckedDisk(plain(content, true)),
  });
  describeBlockBackend('with everything', {
    make: async (content) => new CheckedDisk(new MemoryDisk(content)),
  });
  describeBlockBackend('without write', {
    make: async (content) => new CheckedDisk({ size: content.length, read: plain(content).read }),
  });

  const read = (): void => {};
  const asDisk = (value: unknown): BlockBackend => value as BlockBackend;

  it('names everything that is wrong with its shape at once', () => {
    const attempt = (): unknown =>
      new CheckedDisk(asDisk({ size: 100, write: 3, blockSize: 1000 }), 'disks.1');
    expect(attempt).toThrow(ConfigError);
    expect(attempt).toThrow(
      'disks.1: size must be a whole number of bytes, 512 at least, not 100; disks.1: read must be a function; ' +
        'disks.1: write must be a function; disks.1: blockSize must be a power of two, 512 at least, not 1000',
    );
  });

  it.each([Number.NaN, -512, 1024.5, '1024', 1024n, undefined, 2 ** 60])('refuses a size of %s', (size) => {
    expect(() => new CheckedDisk(asDisk({ size, read }))).toThrow('size must be');
  });

  it('rounds a size down to whole sectors and follows it when it changes', () => {
    const disk = { size: 1000, read };
    const checked = new CheckedDisk(disk);
    expect(checked.size).toBe(512);
    disk.size = 4096;
    expect(checked.size).toBe(4096);
    disk.size = Number.NaN;
    expect(checked.size).toBe(4096);
  });

  it('has the methods its object has, and no others', () => {
    const checked = new CheckedDisk({ size: 512, read, flush() {} });
    expect(checked.flush).toBeTypeOf('function');
    expect([checked.write, checked.discard, checked.writeZeroes, checked.readv, checked.close]).toEqual(
      Array.from({ length: 5 }),
    );
    expect(checked.readOnly).toBe(true);
  });

  it('calls methods on their object', async () => {
    class Counter {
      size = 512;
      reads = 0;
      read(): void {
        this.reads += 1;
      }
    }
    const counter = new Counter();
    await new CheckedDisk(counter).read(0, new Uint8Array(512));
    expect(counter.reads).toBe(1);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('broken');
      },
    ],
    ['rejects', () => Promise.reject(new Error('broken'))],
    [
      'throws what is no error',
      () => {
        throw 'broken';
      },
    ],
    ['rejects with what is no error', () => Promise.reject('broken')],
  ])('rejects with an error when it %s', async (_what, failing) => {
    const checked = new CheckedDisk({ size: 512, read: failing });
    const result = checked.read(0, new Uint8Array(512));
    expect(result).toBeInstanceOf(Promise);
    await expect(result).rejects.toThrow(/broken/);
    await expect(result).rejects.toBeInstanceOf(Error);
  });

  it.each([
    ['bytes', () => new Uint8Array(512)],
    ['bytes later', async () => Buffer.alloc(512)],
    ['text', () => 'text'],
  ])('is told when read() returns %s instead of filling the array', async (_what, returning) => {
    const checked = new CheckedDisk(asDisk({ size: 512, read: returning }));
    await expect((async () => checked.read(0, new Uint8Array(512)))()).rejects.toThrow(
      'put them into the array',
    );
  });

  it('may resolve with anything else, as node:fs does', async () => {
    const checked = new CheckedDisk(asDisk({ size: 512, read: async () => ({ bytesRead: 512 }) }));
    await checked.read(0, new Uint8Array(512));
  });

  it('never sees a range outside of it', async () => {
    const seen: number[] = [];
    const checked = new CheckedDisk({ size: 1024, read: (offset) => void seen.push(offset) });
    for (const offset of [1024, -1, Number.NaN, 2 ** 53, 1.5]) {
      await expect((async () => checked.read(offset, new Uint8Array(512)))()).rejects.toThrow(RangeError);
    }
    expect(seen).toEqual([]);
  });
});
