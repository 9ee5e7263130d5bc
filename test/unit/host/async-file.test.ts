import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { AsyncFile, type AsyncFileOptions } from '../../../src/host/async-file.js';
import { DEPTH } from '../../../src/host/io-uring.js';
import { Random } from '../../support/random.js';
import { abilities, mayMount, scratch, tmpfs } from '../../support/scratch.js';

const folder = scratch();
afterAll(() => folder[Symbol.dispose]());
const path = folder.path('file');
const able = abilities(folder);
const ENGINES: [string, AsyncFileOptions][] = [
  ['io_uring', { engine: 'io_uring' }],
  ['the thread pool', { engine: 'pool' }],
  ['io_uring past the page cache', { engine: 'io_uring', direct: true }],
  ['the thread pool past the page cache', { engine: 'pool', direct: true }],
];

describe.each(ENGINES.filter(([, { direct }]) => able.direct || !direct))(
  'a file through %s',
  (_name, options) => {
    const random = new Random(3);
    let content: Uint8Array;
    beforeEach(() => {
      content = random.bytes(2 ** 20);
      writeFileSync(path, content);
    });

    it('leaves the event loop its turns to somebody who awaits one read after the other', async () => {
      await using file = await AsyncFile.open(path, options);
      let turns = 0;
      let done = false;
      const count = (): void => {
        turns += 1;
        if (!done) setImmediate(count);
      };
      setImmediate(count);
      const into = new Uint8Array(512);
      for (let round = 0; round < 200; round += 1) await file.read(512 * round, into);
      done = true;
      expect(turns).toBeGreaterThan(10);
    });

    it('reads and writes more pieces than one system call takes', async () => {
      await using file = await AsyncFile.open(path, options);
      const into = Array.from({ length: 2560 }, (_, index) => new Uint8Array(index % 2 === 0 ? 300 : 212));
      const length = into.reduce((sum, piece) => sum + piece.length, 0);
      await file.readv(512, into);
      expect(Buffer.compare(Buffer.concat(into), content.subarray(512, 512 + length))).toBe(0);

      const from = into.map(({ length }) => random.bytes(length));
      await file.writev(1024, from);
      content.set(Buffer.concat(from), 1024);
      expect(Buffer.compare(readFileSync(path), content)).toBe(0);
    });

    it('is not confused by empty pieces, however many', async () => {
      await using file = await AsyncFile.open(path, options);
      const empty = Array.from({ length: 1100 }, () => new Uint8Array(0));
      const [into, more] = [new Uint8Array(512), new Uint8Array(512)];
      await file.readv(512, [...empty, into, ...empty, more, ...empty]);
      expect(Buffer.compare(Buffer.concat([into, more]), content.subarray(512, 1536))).toBe(0);
      await file.writev(0, empty);
      await file.readv(2 ** 30, empty);
    });

    it('takes more lists of pieces in one turn than it has room to write down', async () => {
      await using file = await AsyncFile.open(path, options);
      const requests = Array.from({ length: 12 }, (_, index) => {
        const into = Array.from({ length: 896 }, () => new Uint8Array(16));
        const expected = content.subarray(index * 16_384, index * 16_384 + 896 * 16);
        return file.readv(index * 16_384, into).then(() => Buffer.compare(Buffer.concat(into), expected));
      });
      expect((await Promise.all(requests)).every((difference) => difference === 0)).toBe(true);
    });

    it('takes more requests than it has room for, and answers every one', async () => {
      await using file = await AsyncFile.open(path, options);
      const reads = Array.from({ length: 5 * DEPTH }, async () => {
        const offset = random.below(2 ** 20 / 512 - 8) * 512;
        const into = new Uint8Array(4096);
        await file.read(offset, into);
        return Buffer.compare(into, content.subarray(offset, offset + 4096));
      });
      expect((await Promise.all(reads)).every((difference) => difference === 0)).toBe(true);
    });

    it('fails with EIO where the file ends inside the range', async () => {
      await using file = await AsyncFile.open(path, options);
      truncateSync(path, 2 ** 19 + 512);
      await expect(file.read(2 ** 19, new Uint8Array(1024))).rejects.toMatchObject({
        errnoName: 'EIO',
        message: expect.stringContaining(`ends at ${2 ** 19 + 512}`),
      });
      await file.read(0, new Uint8Array(512));
    });

    it('goes on when its file is removed', async () => {
      await using file = await AsyncFile.open(path, options);
      unlinkSync(path);
      await file.write(4096, new Uint8Array(4096).fill(1));
      await file.sync();
      const into = new Uint8Array(4096);
      await file.read(4096, into);
      expect(into.every((byte) => byte === 1)).toBe(true);
    });

    it('gives the storage of punched ranges back, which read as zeroes', async () => {
      await using file = await AsyncFile.open(path, options);
      await file.sync();
      const before = statSync(path).blocks;
      await file.punch(2 ** 16, 2 ** 19);
      expect(statSync(path).blocks).toBeLessThanOrEqual(before - 2 ** 19 / 512 + 8);
      const into = new Uint8Array(2 ** 19).fill(1);
      await file.read(2 ** 16, into);
      expect(into.every((byte) => byte === 0)).toBe(true);
    });

    it.skipIf(!able.zeroRange)('zeroes ranges and keeps their storage', async () => {
      await using file = await AsyncFile.open(path, options);
      await file.sync();
      const before = statSync(path).blocks;
      await file.zero(512, 2 ** 19);
      expect(statSync(path).blocks).toBeGreaterThanOrEqual(before);
      content.fill(0, 512, 512 + 2 ** 19);
      expect(Buffer.compare(readFileSync(path), content)).toBe(0);
    });

    it('grows, shrinks and measures', async () => {
      await using file = await AsyncFile.open(path, options);
      expect(file.size).toBe(2 ** 20);
      await file.truncate(2 ** 21);
      expect([file.size, statSync(path).size]).toEqual([2 ** 21, 2 ** 21]);
      await file.allocate(2 ** 21, 2 ** 16);
      expect(file.size).toBe(2 ** 21 + 2 ** 16);
      expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(2 ** 20 + 2 ** 16);
      truncateSync(path, 4096);
      expect(file.size).toBe(2 ** 21 + 2 ** 16);
      expect(await file.measure()).toBe(4096);
    });

    it('waits for what is in flight when it is closed, then refuses', async () => {
      const file = await AsyncFile.open(path, options);
      let done = 0;
      const writes = Array.from({ length: 2 * DEPTH }, (_, index) =>
        file.write(index * 512, new Uint8Array(512).fill(7)).then(() => {
          done += 1;
        }),
      );
      await file.close();
      await Promise.all(writes);
      expect(done).toBe(2 * DEPTH);
      await file.close();
      await expect(file.read(0, new Uint8Array(512))).rejects.toMatchObject({ errnoName: 'EBADF' });
      await expect(file.sync()).rejects.toThrow('is closed');
    });

    it('leaves no descriptor and no mapping behind', async () => {
      const use = async (): Promise<void> => {
        await using file = await AsyncFile.open(path, options);
        await file.read(0, new Uint8Array(512));
      };
      const descriptors = (): number => readdirSync('/proc/self/fd').length;
      const rings = (): number => readFileSync('/proc/self/maps', 'latin1').match(/io_uring/g)?.length ?? 0;
      await use();
      const before = [descriptors(), rings()];
      for (let round = 0; round < 20; round += 1) await use();
      expect([descriptors(), rings()]).toEqual(before);
    });

    it.skipIf(!mayMount())(
      'fails with ENOSPC on a full file system, and works again when there is room',
      async () => {
        using small = tmpfs(2 ** 20);
        const inside = small.path('file');
        await using file = await AsyncFile.open(inside, { ...options, create: true });
        await file.truncate(2 ** 22);
        const writes = Array.from({ length: 8 }, (_, index) =>
          file.write(index * 2 ** 18, new Uint8Array(2 ** 18).fill(1)),
        );
        const failures = (await Promise.allSettled(writes)).filter(({ status }) => status === 'rejected');
        expect(failures.length).toBeGreaterThanOrEqual(4);
        for (const failure of failures) {
          expect(failure).toMatchObject({ reason: { errnoName: 'ENOSPC', code: 'ERR_VMM_HOST' } });
        }
        await expect(file.allocate(0, 2 ** 21)).rejects.toMatchObject({ errnoName: 'ENOSPC' });
        await file.punch(0, 2 ** 22);
        await file.write(0, new Uint8Array(2 ** 18).fill(2));
        const into = new Uint8Array(2 ** 18);
        await file.read(0, into);
        expect(into.every((byte) => byte === 2)).toBe(true);
      },
    );
  },
);

/** Whether there are loop devices. */
function mayLoop(): boolean {
  return spawnSync('losetup', ['--find']).status === 0;
}

describe('a block device', () => {
  it.skipIf(!mayMount() || !mayLoop())('has the size of its disk, and takes discards', async () => {
    writeFileSync(path, new Random(1).bytes(2 ** 21));
    const loop = execFileSync('losetup', ['--find', '--show', path], { encoding: 'utf8' }).trim();
    try {
      await using file = await AsyncFile.open(loop, { direct: true });
      expect([file.isBlockDevice, file.size]).toEqual([true, 2 ** 21]);
      await file.write(4096, new Uint8Array(4096).fill(3));
      await file.punch(2 ** 20, 2 ** 20);
      await file.sync();
      expect(statSync(path).blocks * 512).toBeLessThanOrEqual(2 ** 20 + 2 ** 16);
      const into = new Uint8Array(512);
      await file.read(8192 - 512, into);
      expect(into.every((byte) => byte === 3)).toBe(true);
    } finally {
      execFileSync('losetup', ['--detach', loop]);
    }
  });
});
