import { describe, expect, it } from 'vitest';
import { KernelError } from '../../../src/base/errors.js';
import { GiB, MiB } from '../../../src/base/units.js';
import { EHDR, PHDR, planElf } from '../../../src/boot/elf.js';
import { kernelRanges, ramRanges } from '../../../src/boot/layout.js';
import { readerOf } from '../../../src/boot/reader.js';
import { elfImage, SMALL_ELF } from '../../support/images.js';
import { elfWithNotes } from '../../support/notes.js';

const RANGES = kernelRanges(ramRanges(64 * MiB));
const plan = (image: Uint8Array, ranges = RANGES) => planElf(readerOf(image), ranges);
/** A good image after `change`. */
function changed(change: (view: DataView) => void): Uint8Array {
  const image = elfImage(SMALL_ELF);
  change(new DataView(image.buffer));
  return image;
}
const FIRST = EHDR.SIZE; // the first program header

describe('an ELF kernel', () => {
  it('is loaded at its physical addresses, sorted, with what it needs beyond its file bytes', () => {
    const image = elfImage({
      entry: 0x20_0010,
      segments: [
        { address: 0x20_0000, fileSize: 0x800, memorySize: 0x3000 },
        { address: 0x10_0000, fileSize: 0x1000 },
        { address: 0x20_3000, fileSize: 0, memorySize: 0x10 },
      ],
    });
    expect(plan(image)).toEqual({
      entry: 0x20_0010,
      loads: [
        { at: 0x10_0000, offset: 0x1800, fileSize: 0x1000, memorySize: 0x1000 },
        { at: 0x20_0000, offset: 0x1000, fileSize: 0x800, memorySize: 0x3000 },
        { at: 0x20_3000, offset: 0x2800, fileSize: 0, memorySize: 0x10 },
      ],
      end: 0x20_3010,
      pvhEntry: undefined,
      hostFeatures: 0,
    });
  });

  it('may fill memory to the last byte', () => {
    const image = elfImage({
      entry: 64 * MiB - 1,
      segments: [{ address: 64 * MiB - 0x1000, fileSize: 0x1000 }],
    });
    expect(plan(image).end).toBe(64 * MiB);
  });

  it('may lie above 4 GiB', () => {
    const image = elfImage({ entry: 5 * GiB, segments: [{ address: 5 * GiB, fileSize: 0x10 }] });
    expect(plan(image, kernelRanges(ramRanges(6 * GiB))).entry).toBe(5 * GiB);
  });

  it('may have segments that need no memory, wherever they are', () => {
    const image = elfImage({
      entry: 0x10_0000,
      segments: [
        { address: 0x10_0000, fileSize: 0x10 },
        { address: 0, fileSize: 0 },
      ],
    });
    expect(plan(image).loads).toHaveLength(1);
  });

  it('tells its PVH entry and which hosts it copes with', () => {
    const notes = [
      { owner: 'Xen', type: 18, words: [0x10_0040] },
      { owner: 'Typevisor', type: 1, words: [3] },
    ];
    expect(plan(elfWithNotes(SMALL_ELF, notes))).toMatchObject({ pvhEntry: 0x10_0040, hostFeatures: 3 });
  });

  it('has no PVH entry when the note names a place that is not loaded', () => {
    const notes = [{ owner: 'Xen', type: 18, words: [0x10_1000] }];
    expect(plan(elfWithNotes(SMALL_ELF, notes)).pvhEntry).toBeUndefined();
  });
});

describe('an ELF file is refused', () => {
  const segment = (field: number, value: bigint) =>
    changed((view) => view.setBigUint64(FIRST + field, value, true));
  const bad: [string, Uint8Array, RegExp][] = [
    ['when it is cut off in its header', elfImage(SMALL_ELF).subarray(0, 63), /truncated ELF header/],
    ['for 32-bit x86', elfImage({ ...SMALL_ELF, bits: 32, machine: 3 }), /32-bit ELF file \(32-bit x86\)/],
    ['for ARM64', elfImage({ ...SMALL_ELF, machine: 183 }), /for ARM64, not x86-64/],
    ['for a machine nobody knows', elfImage({ ...SMALL_ELF, machine: 999 }), /ELF machine 999, not x86-64/],
    ['of an unknown class', changed((view) => view.setUint8(EHDR.CLASS, 7)), /ELF class 7 is unknown/],
    [
      'that is big-endian',
      changed((view) => {
        view.setUint8(EHDR.DATA, 2);
        view.setUint16(EHDR.MACHINE, 62);
      }),
      /big-endian/,
    ],
    [
      'that is an object file',
      changed((view) => view.setUint16(EHDR.TYPE, 1, true)),
      /an object file, not an exec/,
    ],
    ['of an unknown type', changed((view) => view.setUint16(EHDR.TYPE, 77, true)), /of type 77/],
    ['without program headers', changed((view) => view.setUint16(EHDR.PHNUM, 0, true)), /no program headers/],
    [
      'with thousands of them',
      changed((view) => view.setUint16(EHDR.PHNUM, 9999, true)),
      /9999 program headers/,
    ],
    [
      'with headers of another size',
      changed((view) => view.setUint16(EHDR.PHENTSIZE, 32, true)),
      /headers of 32 bytes/,
    ],
    [
      'whose headers are cut off',
      changed((view) => view.setBigUint64(EHDR.PHOFF, 0x1fff_fff0n, true)),
      /program headers are missing/,
    ],
    [
      'whose header offset wraps',
      changed((view) => view.setBigUint64(EHDR.PHOFF, 2n ** 64n - 1n, true)),
      /program headers are missing/,
    ],
    [
      'with nothing to load',
      changed((view) => view.setUint32(FIRST + PHDR.TYPE, 6, true)),
      /nothing to load/,
    ],
    ['cut off in a segment', elfImage(SMALL_ELF).subarray(0, 0x1fff), /segment 0 ends at byte 8192 of 8191/],
    ['with an offset that wraps', segment(PHDR.OFFSET, 2n ** 64n - 0x800n), /truncated ELF file/],
    [
      'with more bytes in the file than in memory',
      segment(PHDR.MEMSZ, 0xfffn),
      /larger in the file than in memory/,
    ],
    [
      'that lies over the tables below 1 MiB',
      segment(PHDR.PADDR, 0xf_f000n),
      /does not fit into the guest's memory/,
    ],
    ['that lies beyond memory', segment(PHDR.PADDR, 0x7000_0000n), /0x7000_0000–0x7000_1000 does not fit/],
    ['that ends one byte beyond memory', segment(PHDR.PADDR, BigInt(64 * MiB - 0xfff)), /does not fit/],
    ['with an address that wraps', segment(PHDR.PADDR, 2n ** 64n - 0x1000n), /does not fit/],
    ['that needs all there is and more', segment(PHDR.MEMSZ, 2n ** 63n), /does not fit/],
    [
      'whose entry lies below its code',
      changed((view) => view.setBigUint64(EHDR.ENTRY, 0xf_ffffn, true)),
      /entry 0xf_ffff is outside/,
    ],
    [
      'whose entry lies behind its code',
      changed((view) => view.setBigUint64(EHDR.ENTRY, 0x10_1000n, true)),
      /entry 0x10_1000 is outside/,
    ],
    [
      'whose entry is a virtual address',
      changed((view) => view.setBigUint64(EHDR.ENTRY, 0xffff_ffff_8100_0000n, true)),
      /entry 0xffff_ffff_8100_0000 is outside/,
    ],
  ];

  it.each(bad)('%s', (_what, image, message) => {
    expect(() => plan(image)).toThrow(KernelError);
    expect(() => plan(image)).toThrow(message);
  });

  it('when its segments overlap, in whatever order they come', () => {
    const segments = [
      { address: 0x20_0000, fileSize: 0x10 },
      { address: 0x10_0000, fileSize: 0x10, memorySize: 0x10_0001 },
    ];
    for (const order of [segments, [...segments].reverse()]) {
      expect(() => plan(elfImage({ entry: 0x10_0000, segments: order }))).toThrow('overlap at 0x20_0000');
    }
  });

  it('when a segment lies across the MMIO gap', () => {
    const image = elfImage({
      entry: 0x10_0000,
      segments: [
        { address: 0x10_0000, fileSize: 0x10 },
        { address: 3 * GiB - 0x1000, fileSize: 0x10, memorySize: GiB + 0x2000 },
      ],
    });
    expect(() => plan(image, kernelRanges(ramRanges(8 * GiB)))).toThrow(/does not fit/);
  });
});
