/** Whole folders into the guest and out of it: against GNU tar, against archives of every kind, and against those that lie. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unpackFolder } from '../../src/agent/tar-folder.js';
import { encodeEntry, type TarEntry } from '../../src/agent/tar-format.js';
import { HostAgent } from '../support/host-agent.js';
import { Random } from '../support/random.js';

let host: HostAgent;
beforeAll(() => {
  host = new HostAgent();
});
afterAll(() => host[Symbol.dispose]());
const fresh = (): string => mkdtempSync(join(host.folder, 'f-'));

/** Everything in a folder that a copy must keep. */
function described(folder: string): Record<string, unknown> {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .sort()
      .map((name) => {
        const path = join(folder, name);
        const status = lstatSync(path);
        const mode = status.mode & 0o777;
        if (status.isSymbolicLink()) return [name, readlinkSync(path)];
        if (status.isDirectory()) return [name, { mode }];
        return [
          name,
          { mode, mtime: Math.floor(status.mtimeMs / 1000), content: readFileSync(path, 'base64') },
        ];
      }),
  );
}

function sample(): string {
  const folder = fresh();
  const deep = join(folder, 'd'.repeat(80), 'e'.repeat(80));
  mkdirSync(deep, { recursive: true });
  for (const name of ['odd\n name ü', '-rf', 'x'.repeat(255)]) writeFileSync(join(deep, name), name);
  for (const size of [0, 1, 511, 512, 513, 1_000_003])
    writeFileSync(join(folder, `size-${size}`), randomBytes(size));
  writeFileSync(join(folder, 'run'), '#!/bin/sh\n', { mode: 0o755 });
  chmodSync(join(folder, 'size-1'), 0o640);
  utimesSync(join(folder, 'size-0'), 1e9, 1_000_000_001);
  symlinkSync('run', join(folder, 'link'));
  symlinkSync(`/nowhere/${'long/'.repeat(40)}`, join(folder, 'long link'));
  mkdirSync(join(folder, 'closed'));
  writeFileSync(join(folder, 'closed/in'), 'in');
  chmodSync(join(folder, 'closed'), 0o555);
  return folder;
}

/** An archive of these. */
const archive = (...entries: (Partial<TarEntry> & { name: string; content?: string })[]): Buffer =>
  Buffer.concat([
    ...entries.flatMap(({ content = '', ...entry }) => [
      encodeEntry({
        ...{ type: 'file', mode: 0o644, mtimeMs: 0, target: '' },
        size: content.length,
        ...entry,
      }),
      Buffer.from(content.padEnd(Math.ceil(content.length / 512) * 512, '\0')),
    ]),
    Buffer.alloc(1024),
  ]);
async function* inPieces(bytes: Buffer, size = 700): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
const unpack = (bytes: Buffer, folder = fresh(), maxBytes = 1e9) =>
  unpackFolder(inPieces(bytes), folder, maxBytes);

describe('a folder', () => {
  it('goes in and comes out as it was', async () => {
    const [from, there, back] = [sample(), join(fresh(), 'a/b'), join(fresh(), 'c')];
    const fifo = join(from, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const up = await host.agent.files.upload(from, there);
    expect(up.skipped).toEqual(['fifo']);
    execFileSync('rm', [fifo]);
    expect(described(there)).toEqual(described(from));
    linkSync(join(there, 'run'), join(there, 'run too'));
    linkSync(join(from, 'run'), join(from, 'run too'));
    const down = await host.agent.files.download(there, back);
    expect(described(back)).toEqual(described(from));
    expect(lstatSync(join(back, 'run too')).ino).toBe(lstatSync(join(back, 'run')).ino);
    expect([down.entries, down.skipped]).toEqual([Object.keys(described(from)).length + 1, []]);
    // Once more over what is there.
    await host.agent.files.download(there, back);
    expect(described(back)).toEqual(described(from));
  });

  it.each(['gnu', 'ustar', 'pax', 'v7'])('in the format %s is understood', async (format) => {
    const from = fresh();
    mkdirSync(join(from, 'd'.repeat(60)));
    const name = format === 'v7' ? 'short' : 'n'.repeat(90);
    writeFileSync(join(from, 'd'.repeat(60), name.slice(0, 90)), 'text');
    if (format === 'v7') writeFileSync(join(from, 'top'), 'text');
    if (format === 'pax' || format === 'gnu') writeFileSync(join(from, 'ü'.repeat(120)), 'long');
    const to = fresh();
    await unpack(execFileSync('tar', [`--format=${format}`, '-cf', '-', '-C', from, '.']), to);
    expect(Object.keys(described(to))).toEqual(Object.keys(described(from)));
  });

  it('that is none, or is not there, or cannot be written, is an error', async () => {
    const { files } = host.agent;
    await expect(files.upload('/etc/passwd', fresh())).rejects.toMatchObject({
      message: /^upload: .*is no folder/,
    });
    await expect(files.upload('/no/such', fresh())).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(files.download('/no/such', fresh())).rejects.toMatchObject({
      code: 'ERR_EXEC',
      hint: /No such file/,
    });
    await expect(files.upload(sample(), '/proc/self')).rejects.toMatchObject({ code: 'ERR_EXEC' });
    await expect(files.download(sample(), fresh(), { maxBytes: 1000 })).rejects.toMatchObject({
      code: 'ERR_AGENT',
      message: /more than 1000 bytes/,
    });
    for (const copy of [files.upload, files.download]) {
      const signal = AbortSignal.abort(new Error('never'));
      await expect(copy.call(files, sample(), fresh(), { signal })).rejects.toThrow('never');
    }
  });

  it('is given up when it is aborted', async () => {
    const from = fresh();
    writeFileSync(join(from, 'large'), Buffer.alloc(50_000_000));
    for (const way of ['upload', 'download'] as const) {
      const abort = new AbortController();
      const copying = host.agent.files[way](from, fresh(), { signal: abort.signal });
      setTimeout(() => abort.abort(new Error('enough')), 20);
      await expect(copying).rejects.toThrow('enough');
    }
  });
});

describe('an archive that lies', () => {
  const out = { code: 'ERR_AGENT', message: /leads out/ };

  it.each(['/etc/passwd', '../up', 'a/../../up', '..'])('cannot write to %s', async (name) => {
    const folder = fresh();
    await expect(unpack(archive({ name, content: 'x' }), folder)).rejects.toMatchObject(out);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('cannot write through a link it made, nor through one that was there', async () => {
    const [folder, outside] = [fresh(), fresh()];
    const through = archive({ name: 'l', type: 'symlink', target: outside }, { name: 'l/f', content: 'x' });
    await expect(unpack(through, folder)).rejects.toMatchObject({ code: 'ERR_AGENT', message: /in its way/ });
    await expect(unpack(archive({ name: 'l', type: 'folder' }), folder)).rejects.toMatchObject({
      message: /in its way/,
    });
    // A file of a link's name replaces the link, not what it leads to.
    writeFileSync(join(outside, 'kept'), 'kept');
    symlinkSync(join(outside, 'kept'), join(folder, 'f'));
    await unpack(archive({ name: 'f', content: 'new' }), folder);
    expect(readFileSync(join(outside, 'kept'), 'utf8')).toBe('kept');
    expect(readFileSync(join(folder, 'f'), 'utf8')).toBe('new');
    expect(readdirSync(outside)).toEqual(['kept']);
  });

  it('cannot link to what is outside, nor to a link', async () => {
    const folder = fresh();
    const hard = (target: string): Buffer =>
      archive({ name: 's', type: 'symlink', target: '/etc/passwd' }, { name: 'h', type: 'link', target });
    await expect(unpack(hard('/etc/passwd'), folder)).rejects.toMatchObject(out);
    await expect(unpack(hard('s'), folder)).rejects.toMatchObject({ message: /no file/ });
    await expect(unpack(hard('none'), folder)).rejects.toMatchObject({ code: 'ENOENT' });
    expect(existsSync(join(folder, 'h'))).toBe(false);
  });

  it('cannot replace a folder, keep set-id bits, or make devices', async () => {
    const folder = fresh();
    mkdirSync(join(folder, 'd'));
    await expect(unpack(archive({ name: 'd', content: 'x' }), folder)).rejects.toThrow();
    expect(lstatSync(join(folder, 'd')).isDirectory()).toBe(true);
    await unpack(
      archive({ name: 'suid', mode: 0o4755 }, { name: 'sticky', type: 'folder', mode: 0o1777 }),
      folder,
    );
    expect(['suid', 'sticky'].map((name) => lstatSync(join(folder, name)).mode & 0o7777)).toEqual([
      0o755, 0o777,
    ]);
    const device = archive({ name: 'null' });
    device.write('3', 156);
    device.write('000000\0', 148); // the checksum, which is then right for it
    let sum = 8 * 32;
    for (let at = 0; at < 512; at += 1) if (at < 148 || at >= 156) sum += device[at]!;
    device.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    expect(await unpack(device, folder)).toMatchObject({ entries: 0, skipped: ['null'] });
    expect(existsSync(join(folder, 'null'))).toBe(false);
  });

  it('is refused when it is damaged, and never believed beyond its end', async () => {
    const good = archive({ name: 'a', content: 'text' }, { name: 'n'.repeat(200), content: 'more' });
    for (const length of [0, 100, 512, 600, 1024, good.length - 1600])
      await expect(unpack(good.subarray(0, length))).rejects.toMatchObject({ message: /ends too early/ });
    const random = new Random(0x7a4);
    for (let round = 0; round < 300; round += 1) {
      const bad = Buffer.from(good);
      for (let count = 1 + random.below(3); count > 0; count -= 1)
        bad[random.below(bad.length)] = random.below(256);
      await unpack(bad, undefined, 1e6).catch((error: { code?: string }) => {
        expect(error.code).toMatch(/^(ERR_AGENT|ENAMETOOLONG)$/);
      });
    }
    await expect(unpack(Buffer.alloc(2048, 0x41))).rejects.toMatchObject({ message: /checksum/ });
  });
});
