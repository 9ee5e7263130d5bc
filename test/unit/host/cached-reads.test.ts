import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { KiB } from '../../../src/base/units.js';
import { AsyncFile } from '../../../src/host/async-file.js';
import { Random } from '../../support/random.js';
import { abilities, scratch } from '../../support/scratch.js';

const folder = scratch();
afterAll(() => folder[Symbol.dispose]());
const path = folder.path('file');
const able = abilities(folder);
const content = new Random(5).bytes(256 * KiB);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe.skipIf(!able.nowait)('a file that the host has in memory', () => {
  beforeEach(() => writeFileSync(path, content));

  it.each(['io_uring', 'pool'] as const)('is read before the call returns (%s)', async (engine) => {
    await using file = await AsyncFile.open(path, { engine });
    const into = [3000, 0, 5000, 192].map((length) => new Uint8Array(length));
    expect(file.readNow(1234, into)).toBe(true);
    expect(Buffer.compare(Buffer.concat(into), content.subarray(1234, 1234 + 8192))).toBe(0);
  });

  it('is not read at once where that would hold up the event loop, or where it ends', async () => {
    await using file = await AsyncFile.open(path);
    expect(file.readNow(0, [new Uint8Array(64 * KiB)])).toBe(false);
    expect(file.readNow(content.length - 512, [new Uint8Array(1024)])).toBe(false);
    expect(file.readNow(0, [])).toBe(false);
  });

  it('is read at once so many times, and again after a turn of the event loop', async () => {
    await using file = await AsyncFile.open(path);
    const into = new Uint8Array(512);
    const readAll = (): number => {
      let count = 0;
      while (count < 1000 && file.readNow(512 * count, [into])) count += 1;
      return count;
    };
    expect(readAll()).toBe(32);
    expect(readAll()).toBe(0);
    await file.read(4096, into);
    expect(Buffer.compare(into, content.subarray(4096, 4096 + 512))).toBe(0);
    await turn();
    expect(readAll()).toBe(32);
  });

  it('counts bytes too', async () => {
    await using file = await AsyncFile.open(path);
    const into = new Uint8Array(60 * KiB);
    let count = 0;
    while (file.readNow(0, [into])) count += 1;
    expect(count).toBe(9);
  });

  it('is left to the engine after its memory was given back, and is read at once when that has brought it', async () => {
    await using file = await AsyncFile.open(path, { lock: false });
    // Writes it out, then asks the kernel to forget it (posix_fadvise(2), POSIX_FADV_DONTNEED).
    execFileSync('dd', ['if=/dev/null', `of=${path}`, 'oflag=nocache', 'conv=notrunc,fsync'], {
      stdio: 'pipe',
    });
    execFileSync('dd', [`if=${path}`, 'of=/dev/null', 'iflag=nocache', 'count=0'], { stdio: 'pipe' });
    const into = new Uint8Array(4096);
    expect(file.readNow(8192, [into])).toBe(false);
    await file.read(8192, into);
    expect(Buffer.compare(into, content.subarray(8192, 8192 + 4096))).toBe(0);
    // The next is not tried: misses come in rows.
    expect(file.readNow(8192, [into])).toBe(false);
    expect(file.readNow(8192, [into])).toBe(true);
  });

  it('is not read once it is closed', async () => {
    const file = await AsyncFile.open(path);
    await file.close();
    expect(file.readNow(0, [new Uint8Array(512)])).toBe(false);
  });

  it.skipIf(!able.direct)('is not read from there when the page cache is to be passed by', async () => {
    await using file = await AsyncFile.open(path, { direct: true });
    expect(file.readNow(0, [new Uint8Array(512)])).toBe(false);
  });
});
