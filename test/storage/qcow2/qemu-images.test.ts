/** Images that qemu-img makes, over all its options: the same bytes, and after our writes nothing that it finds wrong. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Qcow2Image } from '../../../src/backends/qcow2/image.js';
import { exercise } from '../../support/disk-model.js';
import {
  check,
  contents,
  expectSame,
  makeImage,
  ourContents,
  qemuImg,
  qemuIo,
  SOUND,
} from '../../support/qemu-img.js';
import { Random } from '../../support/random.js';
import { type Scratch, scratch } from '../../support/scratch.js';

const KiB = 1024;
const MiB = 1024 * KiB;

let files: Scratch;
beforeEach(() => {
  files = scratch();
});
afterEach(() => files[Symbol.dispose]());

/** Data, zeroes and holes. */
function disk(seed: number, size = 4 * MiB): Uint8Array {
  const random = new Random(seed);
  const bytes = new Uint8Array(size);
  for (let piece = 0; piece < 24; piece += 1) {
    const data = random.compressible(1 + random.below(200 * KiB));
    bytes.set(data.subarray(0, size), random.below(Math.max(1, size - data.length)));
  }
  return bytes;
}

const shapes: readonly (readonly string[])[] = [
  [],
  ['-o', 'compat=0.10'],
  ['-o', 'cluster_size=512'],
  ['-o', 'cluster_size=4k'],
  ['-o', 'cluster_size=2M'],
  ['-o', 'refcount_bits=1'],
  ['-o', 'refcount_bits=2,cluster_size=1k'],
  ['-o', 'refcount_bits=4'],
  ['-o', 'refcount_bits=8'],
  ['-o', 'refcount_bits=32'],
  ['-o', 'refcount_bits=64,cluster_size=512'],
  ['-o', 'lazy_refcounts=on'],
  ['-o', 'preallocation=metadata'],
  ['-o', 'preallocation=falloc'],
  ['-o', 'preallocation=full'],
  ['-c'],
  ['-c', '-o', 'compat=0.10'],
  ['-c', '-o', 'cluster_size=512'],
  ['-c', '-o', 'cluster_size=2M'],
  ['-c', '-o', 'compression_type=zstd'],
  ['-c', '-o', 'compression_type=zstd,cluster_size=4k'],
  ['-c', '-o', 'compression_type=zstd,cluster_size=2M'],
];

describe.each(shapes.map((options) => ({ name: options.join(' ') || 'no options', options })))(
  'an image made with $name',
  ({ options }) => {
    it('reads as the disk it was made from', async () => {
      const expected = disk(options.join().length);
      const path = makeImage(files, 'image', expected, ...options);
      expectSame(await ourContents(path), expected);
    });

    it('is sound after our requests and holds what they wrote', async () => {
      const model = disk(options.join().length + 50);
      const path = makeImage(files, 'image', model, ...options);
      const image = await Qcow2Image.open(path);
      const random = new Random(options.join().length);
      await exercise(image, model, random, { rounds: 60, most: 512 * KiB, flush: 0.1 });
      await image.close();
      expect(check(path)).toEqual(SOUND);
      expectSame(contents(files, path), model);
    });
  },
);

describe('an image of qemu-img', () => {
  it('may have a size that is no multiple of its clusters', async () => {
    const expected = disk(1, MiB + 5 * 512);
    const path = makeImage(files, 'image', expected, '-c');
    expectSame(await ourContents(path), expected);
    const image = await Qcow2Image.open(path);
    await image.write(MiB, new Uint8Array(5 * 512).fill(3));
    await image.close();
    expected.fill(3, MiB);
    expect(check(path)).toEqual(SOUND);
    expectSame(contents(files, path), expected);
  });

  it.each(['', ',compat=0.10'])(
    'may have zero clusters with and without storage, and discarded ones (%s)',
    async (compat) => {
      const path = makeImage(files, 'image', disk(2), '-o', `cluster_size=64k${compat}`);
      qemuIo(path, 'write -z 0 256k', 'write -P 7 300k 400k', 'write -z -u 512k 128k', 'discard 1M 1M');
      expectSame(await ourContents(path), contents(files, path));
      const model = new Uint8Array(contents(files, path));
      const image = await Qcow2Image.open(path);
      await exercise(image, model, new Random(3), { rounds: 40, most: 256 * KiB });
      await image.close();
      expect(check(path)).toEqual(SOUND);
      expectSame(contents(files, path), model);
    },
  );

  it('may be larger than its file ever will be', async () => {
    const path = files.path('huge');
    qemuImg('create', '-f', 'qcow2', path, '8T');
    const image = await Qcow2Image.open(path);
    expect(image.size).toBe(8 * 2 ** 40);
    const bytes = new Random(4).bytes(MiB);
    const places = [0, 2 ** 32 - 512, 2 ** 40 + 12345 * 512, 8 * 2 ** 40 - MiB];
    for (const place of places) await image.write(place, bytes);
    await image.discard(2 ** 33, 2 ** 42);
    await image.close();
    expect(check(path)).toEqual(SOUND);
    const again = await Qcow2Image.open(path, { readOnly: true });
    for (const place of places) {
      const back = new Uint8Array(MiB);
      await again.read(place, back);
      const discarded = place > 2 ** 33 && place < 2 ** 42;
      expectSame(back, discarded ? new Uint8Array(MiB) : bytes);
    }
    await again.close();
  });

  it('outgrows its refcount table', async () => {
    const path = files.path('grows');
    qemuImg('create', '-f', 'qcow2', '-o', 'cluster_size=512,refcount_bits=64', path, '16M');
    const image = await Qcow2Image.open(path);
    const bytes = new Random(5).bytes(8 * MiB);
    for (let at = 0; at < bytes.length; at += MiB) await image.write(at, bytes.subarray(at, at + MiB));
    await image.close();
    expect(check(path)).toEqual(SOUND);
    expectSame(contents(files, path).subarray(0, bytes.length), bytes);
  });

  it('goes back and forth between QEMU and us', async () => {
    const model = disk(6);
    const path = makeImage(files, 'image', model, '-c');
    const random = new Random(7);
    for (let turn = 0; turn < 5; turn += 1) {
      const image = await Qcow2Image.open(path);
      await exercise(image, model, random, { rounds: 15, most: 256 * KiB });
      await image.close();
      const at = random.below(30) * 64 * KiB;
      qemuIo(path, `write -P ${turn + 1} ${at} 100k`, `discard ${2 * MiB} 300k`);
      model.fill(turn + 1, at, at + 100 * KiB);
      model.set(contents(files, path).subarray(2 * MiB, 2 * MiB + 300 * KiB), 2 * MiB);
      expect(check(path)).toEqual(SOUND);
      expectSame(await ourContents(path), model);
    }
  });
});

describe('an image with internal snapshots', () => {
  it.each(['', 'compat=0.10', 'cluster_size=512,refcount_bits=8'])(
    'keeps them when it is written (%s)',
    async (option) => {
      const first = disk(10);
      const path = makeImage(files, 'image', first, ...(option ? ['-o', option] : []));
      qemuImg('snapshot', '-c', 'one', path);
      const model = first.slice();
      const random = new Random(11);
      const use = async (): Promise<void> => {
        const image = await Qcow2Image.open(path);
        expect(image.header.snapshotCount).toBeGreaterThan(0);
        await exercise(image, model, random, { rounds: 30, most: 256 * KiB });
        await image.close();
        expect(check(path)).toEqual(SOUND);
        expectSame(contents(files, path), model);
      };
      await use();
      const second = model.slice();
      qemuImg('snapshot', '-c', 'two', path);
      await use();
      expectSame(contents(files, path, '-l', 'one'), first);
      expectSame(contents(files, path, '-l', 'two'), second);
      qemuImg('snapshot', '-d', 'one', path);
      await use();
      expectSame(contents(files, path, '-l', 'two'), second);
      qemuImg('snapshot', '-a', 'two', path);
      expectSame(await ourContents(path), second);
      expect(check(path)).toEqual(SOUND);
    },
  );
});
