import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type CacheOptions,
  cached,
  cacheRoot,
  lookUp,
  type Recipe,
  sha256,
} from '../../../guest-kernels/cache.js';
import { childProgram } from '../../support/child-program.js';

let root: string;
let builds: number;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'typevisor-cache-'));
  builds = 0;
});
afterEach(() => rmSync(root, { recursive: true }));

const recipe = (more: Partial<Recipe> = {}): Recipe => ({
  name: 'thing',
  inputs: { version: 1 },
  async build(folder) {
    builds += 1;
    writeFileSync(join(folder, 'output'), `built ${builds}`);
    return { from: 'somewhere' };
  },
  ...more,
});
const get = (what: Recipe = recipe(), options: CacheOptions = {}) => cached(what, { root, ...options });
/** What lies in the cache beside its locks. */
const entries = (): string[] => readdirSync(root).filter((name) => name !== 'locks');
const output = (folder: string): string => readFileSync(join(folder, 'output'), 'utf8');

describe('the cache', () => {
  it('builds what it does not have, and has it then', async () => {
    const miss = await get();
    expect(miss.hit).toBe(false);
    const hit = await get();
    expect(hit).toMatchObject({ hit: true, folder: miss.folder });
    expect([builds, output(hit.folder)]).toEqual([1, 'built 1']);
    expect(entries()).toEqual([expect.stringMatching(/^thing-[0-9a-f]{16}$/)]);
  });

  it('records what went in, what was found, and what came out', async () => {
    const before = Date.now();
    const input = join(root, 'input.txt');
    writeFileSync(input, 'in');
    const { manifest, folder } = await get(recipe({ files: [input] }));
    expect(manifest).toMatchObject({
      recipe: 'thing',
      inputs: { version: 1 },
      files: { 'input.txt': sha256('in') },
      found: { from: 'somewhere' },
      outputs: { output: { size: 7, sha256: sha256('built 1') } },
    });
    expect(Date.parse(manifest.built)).toBeGreaterThanOrEqual(before);
    expect(folder.endsWith(manifest.key.slice(0, 16))).toBe(true);
  });

  it('builds again when an input, a file or the name changes; not when the order of inputs does', async () => {
    const file = join(root, 'config');
    writeFileSync(file, 'one');
    const base = { inputs: { a: 1, b: 2 }, files: [file] };
    await get(recipe(base));
    await get(recipe({ ...base, inputs: { b: 2, a: 1 } }));
    expect(builds).toBe(1);
    await get(recipe({ ...base, inputs: { a: 1, b: 3 } }));
    expect(builds).toBe(2);
    writeFileSync(file, 'two');
    await get(recipe(base));
    expect(builds).toBe(3);
    await get(recipe({ ...base, name: 'other' }));
    expect(builds).toBe(4);
  });

  it('refuses two files of one name, because a manifest could only tell of one', async () => {
    const files = ['a', 'b'].map((name) => {
      mkdirSync(join(root, name));
      return join(root, name, 'config');
    });
    for (const file of files) writeFileSync(file, 'one');
    await expect(get(recipe({ files }))).rejects.toThrow('two input files are called config');
  });

  it('looks up without building', async () => {
    expect(lookUp(recipe(), root)).toBeUndefined();
    const { folder } = await get();
    expect(lookUp(recipe(), root)).toMatchObject({ hit: true, folder });
    expect(builds).toBe(1);
  });

  it('builds once for two that ask at once', async () => {
    const slow = recipe({
      async build(folder) {
        builds += 1;
        await sleep(200);
        writeFileSync(join(folder, 'output'), 'slow');
        return {};
      },
    });
    const both = await Promise.all([get(slow), get(slow)]);
    expect(both.map(({ hit }) => hit).sort()).toEqual([false, true]);
    expect(builds).toBe(1);
  });

  it('builds anew on refresh, once for two that ask at once, and keeps the old until the new is whole', async () => {
    const { folder } = await get();
    const watching = recipe({
      async build(temporary) {
        expect(output(folder)).toBe('built 1');
        return recipe().build(temporary, undefined as never);
      },
    });
    const both = await Promise.all([get(watching, { refresh: true }), get(watching, { refresh: true })]);
    expect([builds, output(folder)]).toEqual([2, 'built 2']);
    expect(both.filter(({ hit }) => !hit)).toHaveLength(1);
  });

  it('keeps nothing of a build that failed or was aborted, and tries again', async () => {
    const failing = recipe({
      async build(folder, { signal }) {
        writeFileSync(join(folder, 'half'), 'x');
        signal?.throwIfAborted();
        throw new Error('no luck');
      },
    });
    await expect(get(failing)).rejects.toThrow('no luck');
    expect(entries()).toEqual([]);
    const controller = new AbortController();
    const aborted = get(
      recipe({
        async build(folder, { signal }) {
          writeFileSync(join(folder, 'half'), 'x');
          controller.abort(new Error('enough'));
          signal!.throwIfAborted();
          return {};
        },
      }),
      { signal: controller.signal },
    );
    await expect(aborted).rejects.toThrow('enough');
    expect(entries()).toEqual([]);
    expect((await get()).hit).toBe(false);
  });

  it('keeps the old entry when a refresh fails', async () => {
    const { folder } = await get();
    const failing = recipe({
      async build() {
        throw new Error('no luck');
      },
    });
    await expect(get(failing, { refresh: true })).rejects.toThrow('no luck');
    expect(output(folder)).toBe('built 1');
    expect(entries()).toHaveLength(1);
  });

  it('takes no notice of what a killed builder left, and removes it', async () => {
    const child = childProgram(
      `import { cached } from '{{guest-kernels/cache.ts}}';
       import { writeFileSync } from 'node:fs';
       await cached({
         name: 'thing',
         inputs: { version: 1 },
         async build(folder) {
           writeFileSync(folder + '/output', 'half');
           console.log('in the middle');
           await new Promise((resolve) => setTimeout(resolve, 60_000));
           return {};
         },
       }, { root: process.env.ROOT });`,
      { ROOT: root },
    );
    await child.says(/in the middle/);
    const meanwhile = get();
    child.process.kill('SIGKILL');
    await child.ended;
    const { folder, hit } = await meanwhile;
    expect([hit, output(folder)]).toEqual([false, 'built 1']);
    expect(entries()).toHaveLength(1);
  }, 30_000);

  it('counts an entry as absent whose output is gone, has another size, or whose manifest is damaged', async () => {
    const { folder } = await get();
    rmSync(join(folder, 'output'));
    expect((await get()).hit).toBe(false);
    writeFileSync(join(folder, 'output'), 'longer than before');
    expect((await get()).hit).toBe(false);
    writeFileSync(join(folder, 'manifest.json'), '{ "recipe": ');
    expect((await get()).hit).toBe(false);
    rmSync(join(folder, 'manifest.json'));
    expect((await get()).hit).toBe(false);
    expect((await get()).hit).toBe(true);
  });

  it('removes entries of the same recipe that nobody used for two weeks, and no others', async () => {
    const aged = (await get(recipe({ inputs: { version: 1 } }))).folder;
    const used = (await get(recipe({ inputs: { version: 2 } }))).folder;
    const other = (await get(recipe({ name: 'thing-else' }))).folder;
    const monthAgo = new Date(Date.now() - 30 * 24 * 3600 * 1000);
    for (const folder of [aged, other]) utimesSync(join(folder, 'manifest.json'), monthAgo, monthAgo);
    await get(recipe({ inputs: { version: 3 } }));
    expect([aged, used, other].map((folder) => existsSync(folder))).toEqual([false, true, true]);
  });

  it('counts a look at an entry as its use', async () => {
    const { folder } = await get();
    const monthAgo = new Date(Date.now() - 30 * 24 * 3600 * 1000);
    utimesSync(join(folder, 'manifest.json'), monthAgo, monthAgo);
    await get();
    await get(recipe({ inputs: { version: 2 } }));
    expect(existsSync(folder)).toBe(true);
  });

  it('hashes outputs in folders by their path', async () => {
    const { manifest } = await get(
      recipe({
        async build(folder) {
          mkdirSync(join(folder, 'a/b'), { recursive: true });
          writeFileSync(join(folder, 'a/b/c'), '');
          return {};
        },
      }),
    );
    expect(Object.keys(manifest.outputs)).toEqual(['a/b/c']);
  });

  it('lies where the environment says, outside the repository', () => {
    expect(cacheRoot({ TYPEVISOR_CACHE: '/x/y', XDG_CACHE_HOME: '/z' })).toBe('/x/y');
    expect(cacheRoot({ XDG_CACHE_HOME: '/z' })).toBe('/z/typevisor');
    expect(cacheRoot({ XDG_CACHE_HOME: '' })).toBe(join(homedir(), '.cache/typevisor'));
  });
});
