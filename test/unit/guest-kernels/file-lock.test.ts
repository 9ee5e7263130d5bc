import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileLock } from '../../../guest-kernels/file-lock.js';
import { RecipeError } from '../../../guest-kernels/recipe-error.js';
import { childProgram } from '../../support/child-program.js';
import { childrenOf, until } from '../../support/processes.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'typevisor-lock-'));
  path = join(folder, 'locks', 'thing');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Whether a promise is still waiting after a while. */
const waits = async (promise: Promise<unknown>): Promise<boolean> =>
  (await Promise.race([promise.then(() => 'done'), sleep(150, 'waiting')])) === 'waiting';

describe('a file lock', () => {
  it('is had by one at a time, in turn, and says who has it', async () => {
    const first = await FileLock.acquire(path);
    expect(readFileSync(path, 'utf8')).toBe(`pid ${process.pid}`);
    const holders: string[] = [];
    const second = FileLock.acquire(path, { onWait: (holder) => holders.push(holder) });
    expect(await waits(second)).toBe(true);
    await until(() => holders.length > 0, 'the one who waits is told');
    expect(holders).toEqual([`pid ${process.pid}`]);
    await first[Symbol.asyncDispose]();
    await (await second)[Symbol.asyncDispose]();
  });

  it('tells nobody to wait who gets it soon', async () => {
    const holders: string[] = [];
    const lock = await FileLock.acquire(path, { onWait: (holder) => holders.push(holder) });
    await lock[Symbol.asyncDispose]();
    expect(holders).toEqual([]);
  });

  it('may be given back twice, and leaves no process', async () => {
    const before = childrenOf(process.pid);
    const lock = await FileLock.acquire(path);
    expect(childrenOf(process.pid)).toHaveLength(before.length + 1);
    await lock[Symbol.asyncDispose]();
    await lock[Symbol.asyncDispose]();
    expect(childrenOf(process.pid)).toEqual(before);
  });

  it('of another path is another lock', async () => {
    await using _first = await FileLock.acquire(path);
    await using _second = await FileLock.acquire(`${path}2`);
  });

  it('is waited for no longer than the signal says; the one who has it keeps it', async () => {
    await using _first = await FileLock.acquire(path);
    const controller = new AbortController();
    const second = FileLock.acquire(path, { signal: controller.signal });
    expect(await waits(second)).toBe(true);
    controller.abort(new Error('no time'));
    await expect(second).rejects.toThrow('no time');
    const third = FileLock.acquire(path, { signal: AbortSignal.timeout(300) });
    await expect(third).rejects.toThrow(/timeout/);
    await expect(
      FileLock.acquire(path, { signal: AbortSignal.abort(new Error('not at all')) }),
    ).rejects.toThrow('not at all');
  });

  it('cannot be had where no file can be, and leaves no process then', async () => {
    const before = childrenOf(process.pid);
    await expect(FileLock.acquire('/dev/null/x/lock')).rejects.toThrow(RecipeError);
    await expect(FileLock.acquire(folder)).rejects.toThrow(new RecipeError(`cannot lock ${folder}: EISDIR`));
    expect(childrenOf(process.pid)).toEqual(before);
  });

  it('is free at once when its holder is killed, and does not keep a holder alive that is done', async () => {
    const hold = (then: string) =>
      childProgram(
        `import { FileLock } from '{{guest-kernels/file-lock.ts}}';
         await FileLock.acquire('${path}');
         console.log('locked');
         ${then}`,
      );
    const killed = hold('setInterval(() => {}, 1000);');
    await killed.says(/locked/);
    const next = FileLock.acquire(path);
    expect(await waits(next)).toBe(true);
    killed.process.kill('SIGKILL');
    await (await next)[Symbol.asyncDispose]();

    const done = hold('');
    expect(await done.ended).toMatchObject({ code: 0, output: 'locked\n' });
    await (await FileLock.acquire(path))[Symbol.asyncDispose]();
  }, 30_000);
});
