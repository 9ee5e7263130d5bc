/** Where control sockets are, and who is refused. */
import { chmodSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { checkName, nameOfSocket, runtimeFolder, socketPath } from '../../../src/control/folder.js';
import { type Scratch, scratch } from '../../support/scratch.js';

let place: Scratch;
beforeEach(() => {
  place = scratch();
  vi.stubEnv('XDG_RUNTIME_DIR', place.folder);
});
afterEach(() => {
  vi.unstubAllEnvs();
  place[Symbol.dispose]();
});

const refused = (what: RegExp) => expect(runtimeFolder({ make: true })).rejects.toThrow(what);

describe('the folder for control sockets', () => {
  it('is made for its user alone, and found again', async () => {
    const path = await runtimeFolder({ make: true });
    expect(path).toBe(place.path('typevisor'));
    expect(lstatSync(path!).mode & 0o777).toBe(0o700);
    expect(await runtimeFolder({ make: false })).toBe(path);
  });

  it('is not made by who only looks', async () => {
    expect(await runtimeFolder({ make: false })).toBeUndefined();
    expect(() => lstatSync(place.path('typevisor'))).toThrow('ENOENT');
  });

  it.each([undefined, 'not/absolute'])(
    'is with temporary files when XDG_RUNTIME_DIR is %s',
    async (value) => {
      vi.stubEnv('XDG_RUNTIME_DIR', value);
      vi.stubEnv('TMPDIR', place.folder);
      expect(await runtimeFolder({ make: true })).toBe(place.path(`typevisor-${process.getuid!()}`));
    },
  );

  it.each([0o750, 0o701, 0o777])('is refused with mode %o', async (mode) => {
    mkdirSync(place.path('typevisor'));
    chmodSync(place.path('typevisor'), mode);
    const error = await runtimeFolder({ make: true }).catch((reason) => reason);
    expect(error).toMatchObject({ code: 'ERR_FILE', hint: `chmod 700 ${place.path('typevisor')}` });
    expect(error.message).toMatch('is open to others');
  });

  it('is refused when it is a file, or a link to a folder', async () => {
    writeFileSync(place.path('typevisor'), '');
    await refused(/is no folder/);
    mkdirSync(place.path('elsewhere'), { mode: 0o700 });
    const other = place.path('elsewhere');
    vi.stubEnv('XDG_RUNTIME_DIR', other);
    symlinkSync(place.folder, join(other, 'typevisor'));
    await refused(/is no folder/);
  });

  it('is refused when another user owns it, or what it is in', async () => {
    await runtimeFolder({ make: true });
    vi.spyOn(process, 'getuid').mockReturnValue(4711);
    await refused(/would be in a folder of another user/);
    vi.stubEnv('XDG_RUNTIME_DIR', undefined);
    vi.stubEnv('TMPDIR', place.folder);
    mkdirSync(place.path('typevisor-4711'), { mode: 0o700 });
    await refused(/belongs to another user/);
    vi.restoreAllMocks();
  });

  it('is refused where none can be made', async () => {
    vi.stubEnv('XDG_RUNTIME_DIR', place.path('nowhere'));
    await refused(/cannot be made \(ENOENT\)/);
  });
});

describe('a name', () => {
  it.each(['a', 'web', 'web-1.eu_west', 'A'.repeat(64), '1'])('may be %s', (name) => {
    expect(() => checkName(name)).not.toThrow();
    expect(nameOfSocket(`${name}.sock`)).toBe(name);
  });

  it.each(['', '.', '..', '.hidden', '-q', 'a/b', '../a', 'a b', 'a\n', 'a\0', 'a:b', 'ä', 'a'.repeat(65)])(
    'may not be %j',
    (name) => {
      expect(() => checkName(name)).toThrow('name: ');
      expect(nameOfSocket(`${name}.sock`)).toBeUndefined();
    },
  );

  it('is refused where its socket would have too long a path', () => {
    expect(socketPath('/run', 'a')).toBe('/run/a.sock');
    expect(() => socketPath(`/${'x'.repeat(100)}`, 'ab')).toThrow('longer than 107 bytes');
  });
});
