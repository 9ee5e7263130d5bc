import { describe, expect, it } from 'vitest';
import { KernelError } from '../../../src/base/errors.js';
import { GiB, MiB } from '../../../src/base/units.js';
import { placeInitrd } from '../../../src/boot/initrd.js';
import { ramRanges } from '../../../src/boot/layout.js';

const ANYWHERE = 3 * GiB - 1;

describe('the initrd', () => {
  it('lies as high as memory goes, on a page', () => {
    expect(placeInitrd(0x1001, ramRanges(64 * MiB), 0, ANYWHERE)).toEqual({
      base: 64 * MiB - 0x2000,
      size: 0x1001,
    });
    expect(placeInitrd(0x1000, ramRanges(64 * MiB), 0, ANYWHERE).base).toBe(64 * MiB - 0x1000);
  });

  it('lies no higher than the kernel allows', () => {
    for (const size of [1, 0x1000]) {
      expect(placeInitrd(size, ramRanges(4 * GiB), 0, 0x7fff_ffff).base).toBe(0x7fff_f000);
    }
    expect(placeInitrd(0x1000, ramRanges(64 * MiB), 0, 0x7fff_ffff).base).toBe(64 * MiB - 0x1000);
  });

  it('lies below the gap, however much memory there is', () => {
    expect(placeInitrd(0x1000, ramRanges(16 * GiB), 0, 2 ** 40).base).toBe(3 * GiB - 0x1000);
  });

  it('may begin on the page behind the kernel, and no earlier', () => {
    const place = (size: number) => placeInitrd(size, ramRanges(4 * MiB), 2 * MiB - 1, ANYWHERE);
    expect(place(2 * MiB).base).toBe(2 * MiB);
    expect(() => place(2 * MiB + 1)).toThrow(KernelError);
    expect(() => place(2 * MiB + 1)).toThrow("needs 2 MiB, the guest's memory has 2 MiB left");
  });

  it('never lies below 1 MiB, where the tables are', () => {
    expect(() => placeInitrd(2 * MiB, ramRanges(2 * MiB), 0, ANYWHERE)).toThrow(KernelError);
    expect(() => placeInitrd(0x1000, ramRanges(2 * MiB), 0, 0xf_ffff)).toThrow(KernelError);
  });

  it('is refused when it is larger than memory', () => {
    expect(() => placeInitrd(GiB, ramRanges(64 * MiB), 32 * MiB, ANYWHERE)).toThrow(
      /needs 1 GiB.*32 MiB left/,
    );
    expect(() => placeInitrd(GiB, ramRanges(64 * MiB), 128 * MiB, ANYWHERE)).toThrow(/has 0 B left/);
  });
});
