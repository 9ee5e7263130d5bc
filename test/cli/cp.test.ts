/** `cp` between this host and a VM: large files, links, modes, odd names, full disks, and ends in the middle. The agent runs on this host. */
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type RunOptions, vmm } from '../support/command.js';
import { NamedAgent } from '../support/named-agent.js';
import { mayMount, tmpfs } from '../support/scratch.js';

/** `TYPEVISOR_TEST_FULL=1` copies a gigabyte. */
const LARGE = process.env['TYPEVISOR_TEST_FULL'] ? 1 << 30 : 64 << 20;
/** What a busy machine needs for that, ms. */
const LARGE_MS = 120_000;

let named: NamedAgent;
beforeAll(async () => {
  named = new NamedAgent();
  await named.serve('web');
});
afterAll(() => named[Symbol.asyncDispose]());

/** A folder of each test's own, where both sides are. */
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(named.host.folder, 'c-'));
});
const at = (name: string): string => join(folder, name);
const there = (name: string): string => `web:${at(name)}`;
const cp = (from: string, to: string, options: RunOptions = { input: '' }) => vmm(['cp', from, to], options);
const sha = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

describe('a copy', () => {
  it(
    `of ${LARGE >> 20} MiB goes in and out, equal`,
    async () => {
      const piece = randomBytes(1 << 20);
      const content = createHash('sha256');
      for (let size = 0; size < LARGE; size += piece.length) {
        piece.writeUInt32LE(size);
        content.update(piece);
        writeFileSync(at('large'), piece, { flag: 'a' });
      }
      const wanted = content.digest('hex');
      const started = performance.now();
      expect(await cp(at('large'), there('in'))).toMatchObject({ code: 0, stdout: '', stderr: '' });
      const middle = performance.now();
      expect(await cp(there('in'), at('out'))).toMatchObject({ code: 0, stdout: '', stderr: '' });
      const ended = performance.now();
      const rate = (ms: number): string => `${(LARGE / 2 ** 20 / (ms / 1000)).toFixed(0)} MiB/s`;
      process.stdout.write(`cp: ${rate(middle - started)} in, ${rate(ended - middle)} out\n`);
      for (const name of ['in', 'out']) expect([name, sha(at(name))]).toEqual([name, wanted]);
    },
    LARGE_MS,
  );

  it('keeps modes, follows links, and leaves out what leads nowhere or is no file', async () => {
    mkdirSync(at('from/closed'), { recursive: true });
    writeFileSync(at('from/run'), '#!/bin/sh\n', { mode: 0o751 });
    chmodSync(at('from/run'), 0o4751);
    writeFileSync(at('from/closed/secret'), 's', { mode: 0o600 });
    symlinkSync('run', at('from/link'));
    symlinkSync('closed', at('from/folder'));
    symlinkSync('nowhere', at('from/dangling'));
    for (const [from, to] of [
      [at('from'), there('in')],
      [there('from'), at('out')],
    ] as const) {
      const result = await cp(from, to);
      expect(result.code).toBe(66);
      expect(result.stderr).toMatch(/^vmm: cp: left out: \S+from\/dangling is a link that leads nowhere\n$/);
      const copy = to.replace('web:', '');
      expect(statSync(join(copy, 'run')).mode & 0o7777).toBe(0o751);
      expect(statSync(join(copy, 'closed/secret')).mode & 0o777).toBe(0o600);
      expect(readdirSync(copy).sort()).toEqual(['closed', 'folder', 'link', 'run']);
      expect(readFileSync(join(copy, 'folder/secret'), 'utf8')).toBe('s');
    }
  });

  it('keeps names that are odd, and tells of those that are no UTF-8', async () => {
    const names = [' ', '-rf', '...', '*', '\\', '$HOME', '\n', '\t\x1b[2J', 'ü', '🦀', 'x'.repeat(255)];
    mkdirSync(at('from'));
    for (const name of names) writeFileSync(join(at('from'), name), name);
    expect(await cp(at('from'), there('in'))).toMatchObject({ code: 0, stderr: '' });
    expect(await cp(there('in'), at('out'))).toMatchObject({ code: 0, stderr: '' });
    for (const name of names) expect(readFileSync(join(at('out'), name), 'utf8')).toBe(name);
    writeFileSync(Buffer.concat([Buffer.from(`${at('from')}/caf`), Buffer.of(0xe9)]), '');
    for (const [from, to] of [
      [at('from'), there('in2')],
      [there('from'), at('out2')],
    ] as const) {
      const result = await cp(from, to);
      expect(result.code).toBe(66);
      expect(result.stderr).toMatch(/^vmm: cp: left out: \S+from\/caf\S+ has a name that is no UTF-8\n$/);
      expect(readdirSync(to.replace('web:', '')).length).toBe(names.length);
    }
  });

  it('replaces a file, and a program that runs is left alone', async () => {
    writeFileSync(at('new'), 'new');
    writeFileSync(at('old'), 'old content');
    expect((await cp(at('new'), there('old'))).code).toBe(0);
    expect(readFileSync(at('old'), 'utf8')).toBe('new');
    writeFileSync(at('busy'), readFileSync('/bin/sleep'), { mode: 0o755 });
    await using program = await named.host.agent.spawn([at('busy'), '1000'], {});
    await program.pid;
    const before = sha(at('busy'));
    for (const to of [there('busy'), `web:${at('none/such')}`])
      expect(await cp(at('new'), to)).toMatchObject({
        code: 70,
        stderr: expect.stringMatching(/ETXTBSY|ENOENT/),
      });
    expect(sha(at('busy'))).toBe(before);
  });
});

describe('a copy that fails', () => {
  it.skipIf(!mayMount())('because a disk is full leaves no half file, and says which', async () => {
    using small = tmpfs(1 << 20);
    writeFileSync(at('large'), Buffer.alloc(4 << 20));
    const inside = await cp(at('large'), `web:${small.path('in')}`);
    expect(inside).toMatchObject({ code: 70, stderr: `vmm: cp: write ${small.path('in')}: ENOSPC\n` });
    const outside = await cp(there('large'), small.path('out'));
    expect(outside).toMatchObject({ code: 66, stderr: `vmm: cp: ${small.path('out')}: ENOSPC\n` });
    expect(readdirSync(small.folder)).toEqual([]);
  });

  it('of standard output says what was told', async () => {
    writeFileSync(at('large'), Buffer.alloc(4 << 20));
    const { code } = await cp(there('large'), '-', {
      input: '',
      meanwhile: (child) => child.stdout!.once('data', () => child.stdout!.destroy()),
    });
    expect(code).toBe(0); // as cat | head
  });

  it.each([
    ['SIGINT', 130, 'in'],
    ['SIGTERM', 143, 'in'],
    ['SIGINT', 130, 'out'],
  ] as const)('by %s (%i) on its way %s leaves no half file', async (signal, code, way) => {
    // What is read does not end while anybody waits for it.
    writeFileSync(at('endless'), '');
    truncateSync(at('endless'), 2 ** 40);
    const copy = at('copy');
    const [source, target] = way === 'in' ? ['-', there('copy')] : [there('endless'), copy];
    const result = await cp(source, target, {
      meanwhile: (child) =>
        void (async () => {
          child.stdin!.write('some of it\n');
          while (!existsSync(copy) || statSync(copy).size === 0) await sleep(5);
          child.kill(signal);
        })(),
    });
    expect(result).toMatchObject({ code, stdout: '', stderr: '' });
    expect(existsSync(copy)).toBe(false);
  });
});
