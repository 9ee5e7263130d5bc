/**
 * Kernel images, good ones damaged in every way: planned or refused by a KernelError, never anything else; what is planned lies
 * in the file and in memory; and no image makes us read or think for long.
 */
import { expect, it } from 'vitest';
import { KernelError } from '../../src/base/errors.js';
import { GiB, MiB } from '../../src/base/units.js';
import { planBzImage, SETUP } from '../../src/boot/bzimage.js';
import { EHDR, type Load, PHDR, planElf } from '../../src/boot/elf.js';
import { parseNotes } from '../../src/boot/elf-notes.js';
import { identifyKernel } from '../../src/boot/image.js';
import { kernelRanges, type Range, ramRanges } from '../../src/boot/layout.js';
import { planLinux } from '../../src/boot/linux.js';
import { type ImageReader, readerOf } from '../../src/boot/reader.js';
import { bzImage } from '../support/bzimage.js';
import { FUZZ_LIMIT, fuzz } from '../support/fuzz.js';
import { elfWithNotes, encodeNotes } from '../support/notes.js';
import type { Random } from '../support/random.js';

/** Bytes a planner may read of one image: its headers and notes. */
const MOST_READ = 64 * MiB;
const MEMORY = [2 * MiB, 64 * MiB, 3 * GiB, 5 * GiB] as const;

const ELF = elfWithNotes(
  {
    entry: 0x10_0100,
    segments: [
      { address: 0x10_0000, fileSize: 0x1000 },
      { address: 0x12_0000, fileSize: 0x800, memorySize: 0x4000 },
      { address: 0x14_0000, fileSize: 0, memorySize: 0x1000 },
    ],
  },
  [
    { owner: 'Linux', type: 257, words: [1, 2, 3] },
    { owner: 'Xen', type: 18, words: [0x10_0040] },
    { owner: 'Typevisor', type: 1, words: [3] },
  ],
);
const ELF_HEADERS = EHDR.SIZE + 4 * PHDR.SIZE;
const BZIMAGE = bzImage({ preferred: BigInt(MiB), initSize: MiB / 2, alignment: 0x1000 });

/** Numbers at which arithmetic goes wrong. */
const EDGES = [
  0n,
  1n,
  0x7fffn,
  0xffffn,
  0x7fff_ffffn,
  0xffff_ffffn,
  2n ** 32n,
  2n ** 52n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** A copy of `good` with a few fields of its first `head` bytes, or anything else, changed. */
function damaged(random: Random, good: Uint8Array, head: number): Uint8Array {
  const image = good.slice();
  const view = new DataView(image.buffer);
  for (let count = random.below(4); count > 0; count -= 1) {
    const within = random.chance(0.8) ? head : image.length;
    const at = random.below(within - 8);
    switch (random.below(5)) {
      case 0:
        image[at] = random.below(256);
        break;
      case 1:
        image[at] = image[at]! ^ (1 << random.below(8));
        break;
      case 2:
        view.setUint32(at & ~3, Number(random.pick(EDGES) & 0xffff_ffffn), true);
        break;
      case 3:
        view.setBigUint64(at & ~7, random.pick(EDGES), true);
        break;
      default:
        view.setBigUint64(
          at & ~7,
          view.getBigUint64(at & ~7, true) + BigInt(random.below(0x2001)) - 0x1000n,
          true,
        );
    }
  }
  return random.chance(0.1) ? image.subarray(0, random.below(image.length + 1)) : image;
}

/** @returns undefined when the image was refused as it should be */
function plan<T>(image: Uint8Array, work: (reader: ImageReader) => T): T | undefined {
  const plain = readerOf(image);
  let taken = 0;
  const reader: ImageReader = {
    size: plain.size,
    read(offset, length) {
      const part = plain.read(offset, length);
      taken += part.length;
      if (taken > MOST_READ) throw new Error(`more than ${MOST_READ} bytes read`);
      return part;
    },
  };
  try {
    return work(reader);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    if (error.message === '') throw new Error('a refusal without a word');
    return undefined;
  }
}

function checkLoads(loads: readonly Load[], image: Uint8Array, ranges: readonly Range[]): void {
  for (const [index, { at, offset, fileSize, memorySize }] of loads.entries()) {
    const numbers = [at, offset, fileSize, memorySize];
    const inFile = offset + fileSize <= image.length;
    const inMemory = ranges.some(({ base, size }) => at >= base && at + memorySize <= base + size);
    const before = loads[index - 1];
    const apart = !before || before.at + before.memorySize <= at;
    if (!numbers.every((n) => Number.isSafeInteger(n) && n >= 0)) throw new Error(`numbers: ${numbers}`);
    if (!inFile || !inMemory || !apart || fileSize > memorySize) {
      throw new Error(`load ${index} of ${JSON.stringify(loads)} in a file of ${image.length}`);
    }
  }
  if (loads.length === 0) throw new Error('nothing to load');
}

/** Neither all images are good nor all bad: else the rounds would test nothing. */
function checkBalance(good: number, rounds: number): void {
  if (rounds < 500) return;
  expect(good).toBeGreaterThan(rounds / 20);
  expect(good).toBeLessThan(rounds * 0.95);
}

it('ELF kernels', { timeout: FUZZ_LIMIT }, async () => {
  let good = 0;
  const rounds = await fuzz({ rounds: 5000, seed: 0xe1f }, (random) => {
    const image = damaged(random, ELF, ELF_HEADERS);
    const ranges = kernelRanges(ramRanges(random.pick(MEMORY)));
    const planned = plan(image, (reader) => planElf(reader, ranges));
    if (!planned) return;
    good += 1;
    const { loads, entry, end, pvhEntry } = planned;
    checkLoads(loads, image, ranges);
    const loaded = (address: number): boolean =>
      loads.some(({ at, memorySize }) => address >= at && address < at + memorySize);
    if (!loaded(entry)) throw new Error(`entry ${entry}`);
    if (pvhEntry !== undefined && !loaded(pvhEntry)) throw new Error(`PVH entry ${pvhEntry}`);
    if (end !== loads.at(-1)!.at + loads.at(-1)!.memorySize) throw new Error(`end ${end}`);
  });
  checkBalance(good, rounds);
});

it('notes of a kernel', { timeout: FUZZ_LIMIT }, async () => {
  const notes = encodeNotes([
    { owner: 'GNU', type: 1, words: [1, 2] },
    { owner: 'Xen', type: 18, words: [0x10_0000] },
    { owner: 'Typevisor', type: 1, words: [1] },
  ]);
  let found = 0;
  const rounds = await fuzz({ rounds: 4000, seed: 0x207e }, (random) => {
    const image = random.chance(0.2) ? random.bytes(random.below(300)) : damaged(random, notes, notes.length);
    const segments = Array.from({ length: 1 + random.below(3) }, () => ({
      offset: random.chance(0.8) ? 0n : random.pick(EDGES),
      fileSize: random.chance(0.8) ? BigInt(image.length) : random.pick(EDGES),
    }));
    const { pvhEntry, hostFeatures } = parseNotes(readerOf(image), segments);
    if (pvhEntry !== undefined) found += 1;
    for (const value of [pvhEntry ?? 0, hostFeatures >>> 0]) {
      if (!(Number.isInteger(value) && value >= 0 && value < 2 ** 32)) throw new Error(`value ${value}`);
    }
  });
  checkBalance(found, rounds);
});

it('bzImages', { timeout: FUZZ_LIMIT }, async () => {
  let good = 0;
  const rounds = await fuzz({ rounds: 5000, seed: 0xb2 }, (random) => {
    const image = damaged(random, BZIMAGE, 0x290);
    // Most damage lands in the real-mode code: half of it goes to the header.
    if (random.chance(0.5) && image.length > 0x290)
      image[SETUP.HEADER + random.below(0x9f)] = random.below(256);
    const ranges = kernelRanges(ramRanges(random.pick(MEMORY)));
    const planned = plan(image, (reader) => planBzImage(reader, ranges));
    if (!planned) return;
    good += 1;
    const { loads, entry, end, setupHeader } = planned;
    checkLoads(loads, image, ranges);
    const [{ at, memorySize }] = loads as [Load];
    if (entry < at || entry >= Math.max(at + memorySize, end)) throw new Error(`entry ${entry}`);
    if (!ranges.some(({ base, size }) => at >= base && end <= base + size)) throw new Error(`end ${end}`);
    if (SETUP.HEADER + setupHeader.length > 0x290) throw new Error(`a header of ${setupHeader.length} bytes`);
  });
  checkBalance(good, rounds);
});

it('any file at all, with an initrd', { timeout: FUZZ_LIMIT }, async () => {
  await fuzz({ rounds: 3000, seed: 0xf11e }, (random) => {
    const good = random.pick([ELF, BZIMAGE]);
    const image = random.chance(0.3) ? random.bytes(random.below(0x400)) : damaged(random, good, 0x290);
    const ram = ramRanges(random.pick(MEMORY));
    const initrdSize = random.pick([undefined, 1, 0x1000, MiB, 64 * MiB]);
    const planned = plan(image, (kernel) => {
      identifyKernel(kernel);
      return planLinux({ kernel, initrdSize, ram, protocol: 'auto' });
    });
    if (!planned) return;
    const { loads, initrd, cmdlineLimit } = planned;
    checkLoads(loads, image, kernelRanges(ram));
    if (cmdlineLimit < 1 || cmdlineLimit > 2047) throw new Error(`a command line of ${cmdlineLimit}`);
    if (!initrd) return;
    const inside = ram.some(
      ({ base, size }) => initrd.base >= base && initrd.base + initrd.size <= base + size,
    );
    const apart = loads.every(
      ({ at, memorySize }) => initrd.base >= at + memorySize || initrd.base + initrd.size <= at,
    );
    if (!inside || !apart || initrd.base < MiB) throw new Error(`initrd at ${initrd.base}`);
  });
});
