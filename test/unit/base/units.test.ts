import { describe, expect, it } from 'vitest';
import { alignDown, alignUp, formatSize, GiB, hex, KiB, MiB, parseSize } from '../../../src/base/units.js';

describe('parseSize', () => {
  it.each([
    ['0', 0],
    ['268435456', 268_435_456],
    ['4096B', 4096],
    ['1k', KiB],
    ['1K', KiB],
    ['256M', 256 * MiB],
    ['256m', 256 * MiB],
    ['256MiB', 256 * MiB],
    ['256MB', 256 * MiB],
    ['256 MiB', 256 * MiB],
    ['1.5G', 1.5 * GiB],
    ['0.5K', 512],
    ['2T', 2048 * GiB],
    ['  16M\n', 16 * MiB],
  ])('reads %j as %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each([
    '',
    ' ',
    'M',
    'x',
    '-1',
    '+1',
    '1e3',
    '0x100',
    '1,5G',
    '1.G',
    '.5G',
    '256P',
    '256Mi',
    '1 2',
    '1M 2M',
  ])('refuses %j', (text) => expect(parseSize(text)).toBeUndefined());

  it('refuses what is not a whole number of bytes, or too large to count exactly', () => {
    expect(parseSize('0.3K')).toBeUndefined();
    expect(parseSize('1.5')).toBeUndefined();
    expect(parseSize('9007199254740991')).toBe(Number.MAX_SAFE_INTEGER);
    expect(parseSize('9007199254740992')).toBeUndefined();
    expect(parseSize('9000T')).toBeUndefined();
  });
});

describe('formatSize', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [KiB, '1 KiB'],
    [1536, '1.5 KiB'],
    [256 * MiB, '256 MiB'],
    [1.5 * GiB, '1.5 GiB'],
    [2048 * GiB, '2048 GiB'],
  ])('writes %d as %s', (bytes, text) => expect(formatSize(bytes)).toBe(text));
});

describe('hex', () => {
  it.each<[number | bigint, string]>([
    [0, '0x0'],
    [0xfff, '0xfff'],
    [0x1000, '0x1000'],
    [0x1_0000, '0x1_0000'],
    [0xc000_1000, '0xc000_1000'],
    [2 ** 52 - 1, '0xf_ffff_ffff_ffff'],
    [0xffff_ffff_8100_0000n, '0xffff_ffff_8100_0000'],
  ])('groups %s as %s', (value, text) => expect(hex(value)).toBe(text));
});

describe('alignUp and alignDown', () => {
  it('go to the next multiple, and leave multiples alone', () => {
    expect([0, 1, 4095, 4096, 4097].map((value) => alignUp(value, 4096))).toEqual([
      0, 4096, 4096, 4096, 8192,
    ]);
    expect([0, 1, 4095, 4096, 8191].map((value) => alignDown(value, 4096))).toEqual([0, 0, 0, 4096, 4096]);
  });

  it('work above 4 GiB, where 32-bit masks do not', () => {
    expect(alignUp(5 * GiB + 1, MiB)).toBe(5 * GiB + MiB);
    expect(alignDown(5 * GiB + 1, MiB)).toBe(5 * GiB);
  });
});
