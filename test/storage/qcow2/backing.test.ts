/** Backing chains as qemu-img makes them, and everything a chain may not be. */
import { mkdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
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

const overlay = (name: string, base: string, format: string, ...options: readonly string[]): string => {
  qemuImg('create', '-f', 'qcow2', '-b', base, '-F', format, ...options, files.path(name));
  return files.path(name);
};
/** An image whose header names any backing file at all: qemu-img does not look there with -u. */
const naming = (name: string, base: string, format?: string): string => {
  qemuImg('create', '-f', 'qcow2', files.path(name), '1M');
  const path = files.path(name);
  if (format === undefined) {
    // qemu-img no longer writes a name without a format: put one into the header by hand.
    const bytes = readFileSync(path);
    bytes.writeBigUInt64BE(4096n, 8);
    bytes.writeUInt32BE(base.length, 16);
    bytes.write(base, 4096);
    writeFileSync(path, bytes);
  } else qemuImg('rebase', '-u', '-b', base, '-F', format, path);
  return path;
};
const opening = (path: string): Promise<Qcow2Image> => Qcow2Image.open(path);

describe('a chain of images', () => {
  it.each(['', 'compat=0.10', 'cluster_size=512'])(
    'shows the images below and writes to the top only (%s)',
    async (option) => {
      const random = new Random(1);
      writeFileSync(files.path('base.raw'), random.compressible(MiB + 300 * KiB + 512)); // shorter than what is above
      const options = option ? ['-o', option] : [];
      overlay('middle', 'base.raw', 'raw', ...options, '-o', 'cluster_size=4k');
      const middle = await opening(files.path('middle'));
      await middle.write(100 * KiB + 512, random.bytes(64 * KiB));
      await middle.close();
      qemuImg('resize', files.path('middle'), '2M');
      const top = overlay('top', 'middle', 'qcow2', ...options);
      qemuImg('resize', top, '3M');
      const below = ['base.raw', 'middle'].map((name) => readFileSync(files.path(name)));

      const model = new Uint8Array(contents(files, top));
      expectSame(await ourContents(top), model);
      const image = await opening(top);
      await exercise(image, model, random, { rounds: 60, most: 256 * KiB });
      await image.close();
      expect(check(top)).toEqual(SOUND);
      expectSame(contents(files, top), model);
      expect(
        below.map((bytes, index) => bytes.equals(readFileSync(files.path(['base.raw', 'middle'][index]!)))),
      ).toEqual([true, true]);
    },
  );

  it('may have compressed images below', async () => {
    const base = new Random(2).compressible(MiB);
    makeImage(files, 'base', base, '-c', '-o', 'compression_type=zstd');
    const top = overlay('top', 'base', 'qcow2');
    const image = await opening(top);
    await image.write(512, new Uint8Array(512).fill(1));
    await image.close();
    base.fill(1, 512, 1024);
    expectSame(contents(files, top), base);
  });

  it('finds names relative to the image, and through links', async () => {
    mkdirSync(files.path('dir/sub'), { recursive: true });
    writeFileSync(files.path('dir/base.raw'), new Uint8Array(MiB).fill(5));
    qemuImg('create', '-f', 'qcow2', '-b', '../base.raw', '-F', 'raw', files.path('dir/sub/top'));
    expect((await ourContents(files.path('dir/sub/top')))[0]).toBe(5);
  });

  it('keeps zeroes over the data below, and discards to zeroes', async () => {
    writeFileSync(files.path('base.raw'), new Uint8Array(MiB).fill(5));
    const top = overlay('top', 'base.raw', 'raw');
    const image = await opening(top);
    await image.writeZeroes(0, 128 * KiB, true);
    await image.write(256 * KiB, new Uint8Array(64 * KiB).fill(6));
    await image.discard(256 * KiB, 64 * KiB);
    await image.close();
    const model = new Uint8Array(MiB).fill(5);
    model.fill(0, 0, 128 * KiB);
    model.fill(0, 256 * KiB, 320 * KiB);
    expectSame(contents(files, top), model);
    expect(check(top)).toEqual(SOUND);
  });

  it('gives storage back to the host on discard', async () => {
    const path = files.path('image');
    qemuImg('create', '-f', 'qcow2', path, '16M');
    const image = await opening(path);
    await image.write(0, new Random(3).bytes(8 * MiB));
    await image.flush();
    const blocks = (): number => statSync(path).blocks * 512;
    expect(blocks()).toBeGreaterThan(8 * MiB);
    await image.discard(0, 16 * MiB);
    await image.close();
    expect(blocks()).toBeLessThan(MiB);
  });
});

describe('a chain is refused', () => {
  it('when the header does not say the format: a guest could have written a raw disk into an image', async () => {
    writeFileSync(files.path('base.raw'), new Uint8Array(MiB));
    const path = naming('top', 'base.raw');
    await expect(opening(path)).rejects.toMatchObject({
      code: 'ERR_FILE',
      message: expect.stringContaining('does not say which format'),
      hint: expect.stringContaining('qemu-img rebase -u -b base.raw -F'),
    });
  });

  it('a raw backing file is raw, whatever its bytes look like', async () => {
    qemuImg('create', '-f', 'qcow2', files.path('looks'), '1M');
    const bytes = readFileSync(files.path('looks'));
    const top = overlay('top', 'looks', 'raw');
    expectSame((await ourContents(top)).subarray(0, bytes.length), bytes);
  });

  it.each([
    ['a protocol', 'nbd://host/export', 'raw', 'nbd: is not supported'],
    ['inline JSON', 'json:{"driver":"file","filename":"/etc/passwd"}', 'raw', 'json: is not supported'],
    ['the file protocol', 'file:/etc/passwd', 'raw', 'file: is not supported'],
    ['another format', 'base', 'vmdk', 'format vmdk is not supported'],
    ['a file that is not there', 'nowhere', 'raw', 'no such file'],
    ['a directory', '.', 'raw', 'directory'],
  ])('when it is %s', async (_, name, format, message) => {
    const path = files.path('top');
    qemuImg('create', '-f', 'qcow2', path, '1M');
    // Written by hand: qemu-img would try to open some of them.
    const bytes = readFileSync(path);
    bytes.writeUInt32BE(0xe2792aca, 112);
    bytes.writeUInt32BE(format.length, 116);
    bytes.fill(0, 120, 1024);
    bytes.write(format, 120);
    bytes.writeBigUInt64BE(2048n, 8);
    bytes.writeUInt32BE(name.length, 16);
    bytes.write(name, 2048);
    writeFileSync(path, bytes);
    await expect(opening(path)).rejects.toThrow(message);
  });

  it('when it comes back to itself, under any name', async () => {
    const a = naming('a', 'b', 'qcow2');
    naming('b', 'c', 'qcow2');
    symlinkSync('a', files.path('c'));
    await expect(opening(a)).rejects.toThrow(/loop: .*a → .*b → .*c/);
    await expect(opening(naming('self', 'self', 'qcow2'))).rejects.toThrow('loop');
  });

  it('when it is longer than anybody means', async () => {
    naming('0', 'base', 'raw');
    for (let depth = 1; depth <= 40; depth += 1) naming(`${depth}`, `${depth - 1}`, 'qcow2');
    await expect(opening(files.path('40'))).rejects.toThrow('more than 32 backing files');
  });

  it('and nothing stays open or locked', async () => {
    const base = makeImage(files, 'base', new Uint8Array(MiB));
    const top = naming('top', 'base', 'qcow2');
    renameSync(base, files.path('gone'));
    await expect(opening(top)).rejects.toThrow('no such file');
    renameSync(files.path('gone'), base);
    const again = await opening(top);
    await again.close();
    const writer = await opening(base);
    await writer.close();
  });
});

describe('an image is refused, or only read', () => {
  const patched = (offset: number, ...bytes: readonly number[]): string => {
    const path = makeImage(files, 'image', new Random(9).compressible(MiB));
    const image = readFileSync(path);
    image.set(bytes, offset);
    writeFileSync(path, image);
    return path;
  };

  it.each([
    ['dirty', 1, 'was not closed cleanly', 'qemu-img check -r all'],
    ['corrupt', 2, 'marked corrupt', 'reading only'],
  ])('when it is marked %s', async (_, bit, message, hint) => {
    const path = patched(79, bit);
    const before = readFileSync(path);
    await expect(opening(path)).rejects.toMatchObject({
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
    });
    expectSame(await ourContents(path), new Random(9).compressible(MiB));
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  it('when it has features this back end lacks, by their names', async () => {
    await expect(opening(patched(79, 0x40))).rejects.toThrow('incompatible feature bit 6');
    qemuImg('create', '-f', 'qcow2', '-o', 'extended_l2=on', files.path('x'), '1M');
    await expect(opening(files.path('x'))).rejects.toThrow('extended L2 entries');
    qemuImg('create', '-f', 'qcow2', '-o', `data_file=${files.path('data')}`, files.path('d'), '1M');
    await expect(opening(files.path('d'))).rejects.toThrow('external data file');
    const secret = [
      '--object',
      'secret,id=s,data=secret',
      '-o',
      'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10',
    ];
    qemuImg('create', '-f', 'qcow2', ...secret, files.path('e'), '1M');
    await expect(opening(files.path('e'))).rejects.toThrow('encrypted images are not supported (LUKS)');
  });

  it('when somebody else writes to it', async () => {
    const path = makeImage(files, 'image', new Uint8Array(MiB));
    const image = await opening(path);
    await expect(opening(path)).rejects.toThrow('in use');
    await image.close();
  });

  it('persistent bitmaps are no longer trusted after a write', async () => {
    const path = makeImage(files, 'image', new Uint8Array(MiB));
    qemuImg('bitmap', '--add', path, 'b0');
    const image = await opening(path);
    expect(image.header.autoclear).toBe(1n);
    await image.write(0, new Uint8Array(512).fill(1));
    await image.close();
    expect(readFileSync(path).readBigUInt64BE(88)).toBe(0n);
    expect(check(path).errors).toBe(0);
  });
});
