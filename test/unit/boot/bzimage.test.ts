import { describe, expect, it } from 'vitest';
import { KernelError } from '../../../src/base/errors.js';
import { GiB, MiB } from '../../../src/base/units.js';
import { planBzImage, SETUP } from '../../../src/boot/bzimage.js';
import { kernelRanges, ramRanges } from '../../../src/boot/layout.js';
import { readerOf } from '../../../src/boot/reader.js';
import { type BzImageOptions, bzImage } from '../../support/bzimage.js';

const RAM = 64 * MiB;
const plan = (image: Uint8Array, memory = RAM) =>
  planBzImage(readerOf(image), kernelRanges(ramRanges(memory)));
const planned = (options: BzImageOptions, memory = RAM) => plan(bzImage(options), memory);

describe('a bzImage', () => {
  it('is loaded at its preferred address and entered at its 64-bit entry', () => {
    const { entry, loads, end, initrdMax, cmdlineSize, payload } = planned({ size: 0x4008 });
    expect(entry).toBe(16 * MiB + 0x200);
    // The header counts in units of 16 bytes; the file ends 8 bytes earlier.
    expect(loads).toEqual([{ at: 16 * MiB, offset: 5 * 512, fileSize: 0x4008, memorySize: 0x4010 }]);
    expect(end).toBe(20 * MiB);
    expect(initrdMax).toBe(0x7fff_ffff);
    expect(cmdlineSize).toBe(2047);
    expect(payload).toEqual({ offset: 5 * 512 + 0x1000, length: 0x2000 });
  });

  it('has four setup sectors when it says none (boot.rst)', () => {
    expect(planned({ setupSects: 0 }).loads[0]!.offset).toBe(5 * 512);
    expect(planned({ setupSects: 30 }).loads[0]!.offset).toBe(31 * 512);
  });

  it('brings its setup header, from 0x1f1 to where its jump goes', () => {
    const { setupHeader } = planned({});
    expect(setupHeader.length).toBe(0x26c - 0x1f1);
    expect(new DataView(setupHeader.buffer).getUint32(SETUP.MAGIC - SETUP.HEADER, true)).toBe(0x5372_6448);
  });

  it('never brings more of it than the zero page has room for', () => {
    const image = bzImage();
    image[SETUP.JUMP + 1] = 0xff;
    expect(plan(image).setupHeader.length).toBe(0x290 - 0x1f1);
  });

  it('needs room for its file when that is more than it says it needs', () => {
    expect(planned({ initSize: 0, size: 0x4000 }).end).toBe(16 * MiB + 0x4000);
  });

  it('is not put where only what it says it needs would fit', () => {
    const options = { initSize: 0, size: 0x4000, preferred: BigInt(64 * MiB - 0x2000), relocatable: false };
    expect(() => planned(options)).toThrow(/needs 16 KiB at 0x3ff_e000/);
  });

  it('goes to the lowest aligned place when the preferred one is not there', () => {
    expect(planned({}, 12 * MiB).loads[0]!.at).toBe(2 * MiB);
    expect(planned({ preferred: 2n ** 40n }).loads[0]!.at).toBe(2 * MiB);
    expect(planned({ preferred: 0n, alignment: 16 * MiB }).loads[0]!.at).toBe(16 * MiB);
  });

  it('may just fit', () => {
    expect(planned({ preferred: BigInt(60 * MiB), initSize: 4 * MiB }).loads[0]!.at).toBe(60 * MiB);
  });
});

describe('a bzImage is refused', () => {
  const bad: [string, BzImageOptions, RegExp][] = [
    ['of an old boot protocol', { version: 0x20b }, /boot protocol 2\.11/],
    ['that is a zImage', { loadflags: 0 }, /a zImage/],
    ['of a 32-bit kernel', { xloadflags: 0 }, /without a 64-bit entry/],
    ['without code', { size: 0 }, /truncated/],
    ['that needs more memory than there is', { initSize: 64 * MiB }, /needs 64 MiB at 0x100_0000/],
    [
      'that cannot move to where there is room',
      { preferred: BigInt(GiB), relocatable: false },
      /needs 4 MiB at 0x4000_0000/,
    ],
    ['whose alignment makes no sense', { preferred: BigInt(GiB), alignment: 3 * MiB }, /does not have/],
    ['without an alignment', { preferred: BigInt(GiB), alignment: 0 }, /does not have/],
    ['whose alignment leads out of memory', { preferred: BigInt(GiB), alignment: 2 ** 31 }, /does not have/],
  ];
  it.each(bad)('%s', (_what, options, message) => {
    expect(() => planned(options)).toThrow(KernelError);
    expect(() => planned(options)).toThrow(message);
  });

  it('that is cut off, wherever', () => {
    const image = bzImage();
    for (const length of [0, 0x100, 0x28f, 0x290, 0x1000, image.length - 16]) {
      expect(() => plan(image.subarray(0, length))).toThrow(/truncated bzImage/);
    }
    expect(plan(image.subarray(0, image.length - 15)).loads[0]!.fileSize).toBe(0x4000 - 15);
  });
});
