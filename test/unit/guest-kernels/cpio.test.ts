import { describe, expect, it } from 'vitest';
import { type CpioEntry, cpio } from '../../../guest-kernels/cpio.js';
import { readCpio } from '../../support/cpio-reader.js';

const file = (path: string, data: Uint8Array | string = ''): CpioEntry => ({ type: 'file', path, data });

describe('a cpio archive', () => {
  it('holds every kind of entry with its type, permissions, content and device', () => {
    const archive = cpio([
      { type: 'directory', path: 'etc', mode: 0o700 },
      { type: 'file', path: 'etc/motd', data: 'hello\n', mode: 0o4755 },
      { type: 'file', path: 'empty', data: new Uint8Array() },
      { type: 'symlink', path: 'link', target: '../a/b' },
      { type: 'character-device', path: 'console', major: 5, minor: 1 },
      { type: 'block-device', path: 'vda', major: 254, minor: 0, mode: 0o660 },
    ]);
    expect(readCpio(archive).map(({ data, ...rest }) => ({ ...rest, data: data.toString() }))).toMatchObject([
      { path: 'etc', mode: 0o040700, links: 2, data: '' },
      { path: 'etc/motd', mode: 0o104755, links: 1, data: 'hello\n' },
      { path: 'empty', mode: 0o100644, data: '' },
      { path: 'link', mode: 0o120777, data: '../a/b' },
      { path: 'console', mode: 0o020600, major: 5, minor: 1, data: '' },
      { path: 'vda', mode: 0o060660, major: 254, minor: 0, data: '' },
    ]);
  });

  it('puts the directories that paths need in front of them, once', () => {
    const paths = readCpio(cpio([file('a/b/c'), file('a/b/d'), { type: 'directory', path: 'a' }]));
    expect(paths.map(({ path }) => path)).toEqual(['a', 'a/b', 'a/b/c', 'a/b/d']);
  });

  it('pads every length of name and data to what Linux expects', () => {
    for (let length = 0; length < 9; length += 1) {
      const entries = [file('x'.repeat(length + 1), 'y'.repeat(length)), file('last', 'z')];
      const archive = cpio(entries);
      expect(archive.length % 512).toBe(0);
      expect(readCpio(archive).map(({ path, data }) => [path, data.toString()])).toEqual([
        ['x'.repeat(length + 1), 'y'.repeat(length)],
        ['last', 'z'],
      ]);
    }
  });

  it('counts the bytes of a name, not its characters', () => {
    expect(readCpio(cpio([file('größe/😀', 'x')])).map(({ path }) => path)).toEqual(['größe', 'größe/😀']);
  });

  it('takes the bytes of a view, not of what it is a view of', () => {
    const bytes = Uint8Array.from([1, 2, 3, 4, 5]).subarray(1, 3);
    expect([...readCpio(cpio([file('f', bytes)]))[0]!.data]).toEqual([2, 3]);
  });

  it('is the same bytes for the same entries, with numbered inodes, no owner and no time', () => {
    const entries = [file('a/b', '1'), file('c', '2')];
    expect(cpio(entries)).toEqual(cpio(entries));
    const read = readCpio(cpio(entries));
    expect(read.map(({ inode }) => inode)).toEqual([1, 2, 3]);
    expect(read.every(({ owner, time }) => owner === 0 && time === 0)).toBe(true);
  });

  it('can be appended to another', () => {
    const both = Buffer.concat([cpio([file('a', '1')]), cpio([file('a', '2')])]);
    expect(readCpio(both).map(({ path, data }) => `${path}${data}`)).toEqual(['a1', 'a2']);
  });

  it('may be empty', () => {
    expect(readCpio(cpio([]))).toEqual([]);
  });

  it('takes the longest path and link target that Linux does', () => {
    const path = `${'d/'.repeat(2046)}abc`;
    expect(path.length).toBe(4095);
    expect(readCpio(cpio([file(path)])).at(-1)!.path).toBe(path);
    const target = 't'.repeat(4095);
    expect(readCpio(cpio([{ type: 'symlink', path: 'l', target }]))[0]!.data.toString()).toBe(target);
  });

  it.each([
    ['an empty path', [file('')], 'bad path ""'],
    ['an absolute path', [file('/etc')], 'bad path'],
    ['a trailing slash', [file('etc/')], 'bad path'],
    ['two slashes', [file('a//b')], 'bad path'],
    ['..', [file('a/../b')], 'bad path'],
    ['.', [file('./a')], 'bad path'],
    ['a NUL', [file('a\0b')], 'bad path'],
    ['the name that ends archives', [file('TRAILER!!!')], 'bad path'],
    ['a path of 4096 bytes', [file('x'.repeat(4096))], '4096 bytes; the limit is 4095'],
    ['a path of 2048 two-byte letters', [file('ä'.repeat(2048))], '4096 bytes'],
    ['a file twice', [file('a'), file('a')], 'a is there twice'],
    ['a directory where a file is', [file('a'), { type: 'directory', path: 'a' }], 'there twice'],
    ['a file below a file', [file('a'), file('a/b')], 'a/b lies below a, which is no directory'],
    ['a file below a link', [{ type: 'symlink', path: 'a', target: 'b' }, file('a/b')], 'no directory'],
    ['a link to nowhere', [{ type: 'symlink', path: 'a', target: '' }], 'target'],
    ['a link target of 4096 bytes', [{ type: 'symlink', path: 'a', target: 'x'.repeat(4096) }], 'target'],
    ['a link target with a NUL', [{ type: 'symlink', path: 'a', target: 'x\0y' }], 'target'],
    ['a negative device', [{ type: 'block-device', path: 'a', major: -1, minor: 0 }], 'device'],
    ['a device of 33 bits', [{ type: 'block-device', path: 'a', major: 0, minor: 2 ** 32 }], 'device'],
    ['half a device', [{ type: 'character-device', path: 'a', major: 1.5, minor: 0 }], 'device'],
  ] as [string, CpioEntry[], string][])('refuses %s', (_what, entries, message) => {
    expect(() => cpio(entries)).toThrow(RangeError);
    expect(() => cpio(entries)).toThrow(message);
  });
});
