/** Copies between places of the tests: what goes where, and what a hostile side may not do. */
import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CopyPlace, copy } from '../../../src/cli/copy.js';
import { LocalPlace } from '../../../src/cli/copy-places.js';
import { type Scratch, scratch } from '../../support/scratch.js';

/** Files in memory: path → content, or the names in a folder. */
class Fake implements CopyPlace {
  readonly modes = new Map<string, number>();
  constructor(readonly tree: Record<string, string | string[]> = {}) {}
  async stat(path: string) {
    const entry = this.tree[path];
    if (entry === undefined) return undefined;
    if (entry === '<fifo>') return { type: 'fifo', mode: 0o600 };
    return { type: typeof entry === 'string' ? 'file' : 'directory', mode: 0o104_751 };
  }
  async list(path: string) {
    return [...(this.tree[path] as string[])];
  }
  async *read(path: string) {
    yield Buffer.from(this.tree[path] as string);
  }
  async write(path: string, mode: number, data: AsyncIterable<Uint8Array>) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of data) chunks.push(chunk);
    this.tree[path] = Buffer.concat(chunks).toString();
    this.modes.set(path, mode);
  }
  async discard(path: string) {
    delete this.tree[path];
    return true;
  }
  async makeFolder(path: string, mode: number) {
    this.tree[path] ??= [];
    this.modes.set(path, mode);
  }
}

const left: string[] = [];
const half: string[] = [];
beforeEach(() => {
  left.splice(0);
  half.splice(0);
});
const run = (source: CopyPlace, from: string, target: CopyPlace, to: string, signal?: AbortSignal) =>
  copy(source, from, target, to, {
    leaveOut: (what) => void left.push(what),
    leaveHalf: (path) => void half.push(path),
    signal: signal ?? new AbortController().signal,
  });

describe('a copy of a file', () => {
  it('has the name it is given, or its own in a folder', async () => {
    const source = new Fake({ '/a': 'A' });
    const target = new Fake({ '/dir': [] });
    await run(source, '/a', target, '/b');
    await run(source, '/a', target, '/dir');
    expect(target.tree).toMatchObject({ '/b': 'A', '/dir/a': 'A' });
    expect(target.modes.get('/b')).toBe(0o751); // without set-id
  });

  it('needs a source, a folder that is named as one, and a name', async () => {
    const target = new Fake({ '/dir': [] });
    await expect(run(new Fake(), '/a', target, '/b')).rejects.toThrow('no such file: /a');
    await expect(run(new Fake({ '/a': '' }), '/a', target, '/new/')).rejects.toThrow('no such folder: /new/');
    await expect(run(new Fake({ '-': 'x' }), '-', target, '/dir')).rejects.toThrow('has no name for a file');
    await expect(run(new Fake({ '/f': '<fifo>' }), '/f', target, '/b')).rejects.toThrow(
      'neither a file nor a folder',
    );
  });
});

describe('a copy of a folder', () => {
  it('becomes the target, or goes into it when that is there', async () => {
    const source = new Fake({ '/s': ['x', 'sub'], '/s/x': 'X', '/s/sub': ['y'], '/s/sub/y': 'Y' });
    const target = new Fake({ '/dir': [] });
    expect(await run(source, '/s', target, '/new')).toBe(0);
    expect(await run(source, '/s', target, '/dir')).toBe(0);
    expect(target.tree).toMatchObject({
      '/new/x': 'X',
      '/new/sub/y': 'Y',
      '/dir/s/x': 'X',
      '/dir/s/sub/y': 'Y',
    });
  });

  it('leaves out what is no file, and says so', async () => {
    const source = new Fake({ '/s': ['fifo', 'gone', 'x'], '/s/fifo': '<fifo>', '/s/x': 'X' });
    const target = new Fake();
    expect(await run(source, '/s', target, '/t')).toBe(2);
    expect(left).toEqual(['/s/fifo is a fifo', '/s/gone is a link that leads nowhere']);
    expect(target.tree['/t/x']).toBe('X');
  });

  it('says why a name that is no UTF-8 leads nowhere', async () => {
    const source = new Fake({ '/s': ['caf\ufffd'] });
    expect(await run(source, '/s', new Fake(), '/t')).toBe(1);
    expect(left).toEqual(['/s/caf\ufffd has a name that is no UTF-8']);
  });

  it('stays in its place, whatever names a guest tells', async () => {
    const names = ['..', '.', '', '../evil', 'a/b', '/etc/passwd', 'x\0y'];
    const source = new Fake({ '/s': names, '/evil': 'E', '/etc/passwd': 'E', '/s/a/b': 'E', '/': ['evil'] });
    const target = new Fake();
    expect(await run(source, '/s', target, '/t')).toBe(names.length);
    expect(Object.keys(target.tree)).toEqual(['/t']);
  });

  it('ends, though the folder does not', async () => {
    const endless = new Fake();
    endless.stat = async () => ({ type: 'directory', mode: 0o755 });
    endless.list = async () => ['again'];
    expect(await run(endless, '/s', new Fake(), '/t')).toBe(1);
    expect(left[0]).toMatch(/is 64 folders deep$/);
  });
});

describe('a copy that is broken off', () => {
  /** Takes the first piece, and fails then. */
  class Full extends Fake {
    override async write(path: string, _mode: number, data: AsyncIterable<Uint8Array>) {
      this.tree[path] = 'half';
      for await (const _ of data) throw new Error('full');
    }
  }

  it('takes the half file away, and says so when it cannot', async () => {
    const source = new Fake({ '/a': 'A' });
    const full = new Full();
    await expect(run(source, '/a', full, '/b')).rejects.toThrow('full');
    expect([full.tree, half]).toEqual([{}, []]);
    full.discard = async () => false;
    await expect(run(source, '/a', full, '/b')).rejects.toThrow('full');
    full.discard = () => Promise.reject(new Error('gone'));
    await expect(run(source, '/a', full, '/b')).rejects.toThrow('full');
    expect(half).toEqual(['/b', '/b']);
  });

  it('leaves a file alone that could not be opened', async () => {
    const target = new Fake({ '/b': 'busy' });
    target.write = () => Promise.reject(new Error('ETXTBSY'));
    await expect(run(new Fake({ '/a': 'A' }), '/a', target, '/b')).rejects.toThrow('ETXTBSY');
    expect(target.tree).toEqual({ '/b': 'busy' });
  });

  it('by a signal ends even when nothing comes to be copied', async () => {
    const source = new Fake({ '/a': '' });
    source.read = async function* () {
      await new Promise(() => {});
    };
    const abort = new AbortController();
    const target = new Full();
    const running = run(source, '/a', target, '/b', abort.signal);
    setTimeout(() => abort.abort(new Error('enough')), 5);
    await expect(running).rejects.toThrow('enough');
    expect([target.tree, half]).toEqual([{}, []]);
  });
});

describe('files of this host', () => {
  let place: Scratch;
  beforeEach(() => {
    place = scratch();
  });
  afterEach(() => place[Symbol.dispose]());

  it('are read and written, with their modes', async () => {
    mkdirSync(place.path('s'));
    const big = Buffer.alloc(1_000_000, 'typevisor');
    writeFileSync(place.path('s/big'), big, { mode: 0o755 });
    writeFileSync(place.path('s/empty'), '', { mode: 0o600 });
    symlinkSync('big', place.path('s/link'));
    symlinkSync('nowhere', place.path('s/dangling'));
    const local = new LocalPlace();
    expect(await run(local, place.path('s'), local, place.path('t'))).toBe(1);
    expect(readFileSync(place.path('t/big')).equals(big)).toBe(true);
    expect(readFileSync(place.path('t/link')).equals(big)).toBe(true);
    expect(statSync(place.path('t/empty')).mode & 0o777).toBe(0o600);
    expect(statSync(place.path('t/big')).mode & 0o777).toBe(0o755);
  });

  it('that cannot be used are told with the reason', async () => {
    const local = new LocalPlace();
    writeFileSync(place.path('f'), '');
    const bad = place.path('no/such');
    await expect(run(local, place.path('f'), local, bad)).rejects.toMatchObject({
      code: 'ERR_FILE',
      message: `${bad}: ENOENT`,
    });
    await expect(run(local, place.path('f/x'), local, bad)).rejects.toThrow('ENOTDIR');
  });
});
