/** What goes wrong below or inside an image: full disks, failed syncs, structures that contradict each other. */
import { deflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { PowerLossFile } from '../../../support/power-loss-file.js';
import { buildQcow2 } from '../../../support/qcow2-builder.js';
import { checkQcow2 } from '../../../support/qcow2-check.js';
import { openFiles, openInMemory, readAll } from '../../../support/qcow2-memory.js';
import { Random } from '../../../support/random.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const CLUSTER = 64 * KiB;
/** The builder's layout with 64 KiB clusters: header, refcount table, one block, L1; then what is written first. */
const L1 = 3 * CLUSTER;
const COPIED = 1n << 63n;

/** An image whose cluster 0 is written: data first, then its L2 table. */
async function written(edit: (view: DataView, l2: number, data: number) => void): Promise<Uint8Array> {
  const { image, file } = await openInMemory(buildQcow2({ size: MiB }));
  await image.write(0, new Uint8Array(CLUSTER).fill(1));
  await image.close();
  const bytes = file.image.slice();
  const view = new DataView(bytes.buffer);
  const l2 = Number(view.getBigUint64(L1) & ~COPIED);
  edit(view, l2, Number(view.getBigUint64(l2) & ~COPIED));
  return bytes;
}

describe('a full disk', () => {
  it('fails the request, keeps the old contents, and harms nothing', async () => {
    const { image, file } = await openInMemory(buildQcow2({ size: 4 * MiB, clusterBits: 12 }));
    await image.write(0, new Uint8Array(MiB).fill(1));
    await image.flush();
    const random = new Random(1);
    file.beforeWrite = () => {
      if (random.chance(0.2)) throw new Error('ENOSPC');
    };
    const results = [];
    for (let index = 0; index < 400; index += 1) {
      const at = random.below(1000) * 4096 + 512 * random.below(8);
      const work =
        index % 10 === 9
          ? image.flush()
          : index % 10 === 5
            ? image.writeZeroes(at - (at % 4096), 4096, true)
            : image.write(at, new Uint8Array(512).fill(2));
      results.push(
        Promise.resolve(work).then(
          () => 'done',
          (error: Error) => error.message,
        ),
      );
      if (index % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(new Set(await Promise.all(results))).toEqual(new Set(['done', 'ENOSPC']));
    file.beforeWrite = () => {};
    const bytes = await readAll(image);
    expect(bytes.subarray(0, MiB).every((byte) => byte <= 2)).toBe(true);
    expect(bytes.subarray(MiB).every((byte) => byte === 0 || byte === 2)).toBe(true);
    await image.close();
    expect(checkQcow2(file.image)).toEqual({ errors: [], leaks: 0 });
    const again = await openInMemory(file.image);
    expect(Buffer.compare(await readAll(again.image), bytes)).toBe(0);
  });

  it.each([
    ['L1', L1, CLUSTER],
    ['L2', 5 * CLUSTER, 4096],
    ['refcounts', 2 * CLUSTER, 4096],
  ])('that fails the write of %s loses nothing of it: the next flush writes it', async (_, start, length) => {
    const { image, file } = await openInMemory(buildQcow2({ size: MiB }));
    await image.write(0, new Uint8Array(CLUSTER).fill(1));
    let failed = 0;
    file.beforeWrite = (offset) => {
      if (offset < start || offset >= start + length) return;
      failed += 1;
      throw new Error('ENOSPC');
    };
    await expect(image.flush()).rejects.toThrow('ENOSPC');
    expect(failed).toBe(1);
    file.beforeWrite = () => {};
    await image.close();
    expect(checkQcow2(file.image)).toEqual({ errors: [], leaks: 0 });
    const again = await openInMemory(file.image);
    expect((await readAll(again.image))[CLUSTER - 1]).toBe(1);
  });

  it('fails a request once, though one of its parts fails while another is still being looked up', async () => {
    // 512-byte clusters: 64 to an L2 table, so that the second half needs a page that is not in memory.
    const first = await openInMemory(buildQcow2({ size: MiB, clusterBits: 9 }));
    await first.image.write(0, new Uint8Array(64 * KiB).fill(1));
    await first.image.close();
    const { image, file } = await openInMemory(first.file.image);
    await image.read(0, new Uint8Array(512));
    file.delay = () => new Promise((resolve) => setTimeout(resolve, 5));
    file.beforeWrite = () => {
      throw new Error('EIO');
    };
    // A rejection that nobody has caught by the next tick would end the process.
    await expect(image.write(0, new Uint8Array(64 * KiB).fill(2))).rejects.toThrow('EIO');
  });

  it('ends all writing when a sync fails: what it covered may be lost', async () => {
    const { image, file } = await openInMemory(buildQcow2({ size: MiB }));
    await image.write(0, new Uint8Array(512).fill(1));
    file.beforeSync = () => {
      throw new Error('EIO');
    };
    await expect(image.flush()).rejects.toThrow('EIO');
    file.beforeSync = () => {};
    await expect(image.flush()).rejects.toThrow('nothing more is written');
    expect(() => image.write(0, new Uint8Array(512))).toThrow('nothing more is written');
    expect((await readAll(image))[0]).toBe(1);
    await expect(image.close()).rejects.toThrow('nothing more is written');
    expect(checkQcow2(file.image).errors).toEqual([]);
  });
});

describe('an L2 entry that cannot be true fails requests there, and only there', () => {
  it.each([
    ['outside the file', COPIED | 0x4000_0000n],
    ['beyond any file', COPIED | 0xff_ffff_ffff_0000n],
    ['unaligned', COPIED | 0x4_0200n],
    ['with reserved bits', COPIED | 0x4_0000n | (1n << 60n)],
  ])('%s', async (_, entry) => {
    const bytes = await written((view, l2) => view.setBigUint64(l2, entry));
    const { image } = await openInMemory(bytes);
    const one = new Uint8Array(512);
    await expect((async () => image.read(0, one))()).rejects.toThrow();
    await expect((async () => image.write(0, one))()).rejects.toThrow();
    await expect((async () => image.discard(0, CLUSTER))()).rejects.toThrow();
    await image.write(CLUSTER, one.fill(3));
    await image.read(CLUSTER, one);
    expect(one[0]).toBe(3);
  });

  it('an L2 table outside the file', async () => {
    const bytes = buildQcow2({ size: MiB });
    new DataView(bytes.buffer).setBigUint64(L1, COPIED | 0x4000_0000n);
    const { image } = await openInMemory(bytes);
    await expect((async () => image.read(0, new Uint8Array(512)))()).rejects.toThrow('outside the file');
    await expect((async () => image.write(0, new Uint8Array(512)))()).rejects.toThrow('outside the file');
  });

  it.each([0x100n, 1n << 57n, COPIED, COPIED | 0x4_0200n])('an L1 entry %x', async (entry) => {
    const bytes = buildQcow2({ size: MiB });
    new DataView(bytes.buffer).setBigUint64(L1, entry);
    const { image } = await openInMemory(bytes);
    const one = new Uint8Array(512);
    await expect((async () => image.read(0, one))()).rejects.toThrow('L1 entry 0 is damaged');
    await expect((async () => image.write(0, one))()).rejects.toThrow('L1 entry 0 is damaged');
  });
});

describe("a guest cannot write over the image's own structures", () => {
  it.each([
    ['the refcount table', CLUSTER],
    ['a refcount block', 2 * CLUSTER],
    ['the L1 table', L1],
    ['an L2 table', -1],
  ])('%s', async (_, target) => {
    const bytes = await written((view, l2) =>
      view.setBigUint64(l2, COPIED | BigInt(target < 0 ? l2 : target)),
    );
    const { image, file } = await openInMemory(bytes);
    const before = file.image.slice();
    for (const attempt of [
      () => image.write(0, new Uint8Array(512).fill(0xff)),
      () => image.write(0, new Uint8Array(CLUSTER).fill(0xff)),
      () => image.discard(0, CLUSTER),
      () => image.writeZeroes(0, CLUSTER, true),
    ]) {
      await expect((async () => attempt())()).rejects.toThrow("overlaps the image's own structures");
    }
    expect(Buffer.compare(file.image, before)).toBe(0);
  });

  it('nor the header, by way of a zero cluster with storage or a compressed one', async () => {
    const zero = await written((view, l2) => view.setBigUint64(l2, COPIED | BigInt(CLUSTER) | 1n));
    const first = await openInMemory(zero);
    await expect((async () => first.image.write(0, new Uint8Array(512)))()).rejects.toThrow('overlaps');
    const compressed = await written((view, l2) => view.setBigUint64(l2, (1n << 62n) | 512n));
    const second = await openInMemory(compressed);
    await expect((async () => second.image.discard(0, CLUSTER))()).rejects.toThrow('overlaps');
  });

  it('nor is a structure taken for free because its count is zero', async () => {
    const bytes = buildQcow2({ size: MiB });
    new DataView(bytes.buffer).setBigUint64(2 * CLUSTER, 0n); // clusters 0 … 3
    const { image, file } = await openInMemory(bytes);
    await expect((async () => image.write(0, new Uint8Array(512)))()).rejects.toThrow('reference count of 0');
    expect(file.writes).toBe(0);
  });

  it('and an image with two structures in one place is only read', async () => {
    const bytes = buildQcow2({ size: 2 ** 30 });
    const view = new DataView(bytes.buffer);
    view.setBigUint64(L1, COPIED | BigInt(2 * CLUSTER));
    await expect(openInMemory(bytes)).rejects.toThrow('two structures of the image');
    const { image } = await openInMemory(bytes, { readOnly: true });
    expect(image.readOnly).toBe(true);
    expect(() => image.write(0, new Uint8Array(512))).toThrow('reading only');
  });
});

describe('a compressed cluster', () => {
  /** At the end of the file, in clusters that nobody else uses; counted by hand. */
  async function compressed(data: Uint8Array, clusters = 1): Promise<Uint8Array> {
    const bytes = await written(() => {});
    const image = new Uint8Array(bytes.length + CLUSTER * clusters);
    image.set(bytes);
    const at = bytes.length + 100;
    image.set(data, at);
    const view = new DataView(image.buffer);
    const l2 = Number(view.getBigUint64(L1) & ~COPIED);
    const sectors = Math.floor((at + data.length - 1) / 512) - Math.floor(at / 512);
    view.setBigUint64(l2 + 8, (1n << 62n) | (BigInt(sectors) << 54n) | BigInt(at));
    for (let index = 0; index < clusters; index += 1) {
      view.setUint16(2 * CLUSTER + (bytes.length / CLUSTER + index) * 2, 1);
    }
    return image;
  }
  const read = async (image: Uint8Array): Promise<Uint8Array> => {
    const opened = await openInMemory(image);
    const bytes = new Uint8Array(CLUSTER);
    await opened.image.read(CLUSTER, bytes);
    return bytes;
  };

  it('is read, and replaced by a standard one when it is written', async () => {
    const data = new Random(2).compressible(CLUSTER);
    const { image, file } = await openInMemory(await compressed(deflateRawSync(data)));
    expect(checkQcow2(file.image)).toEqual({ errors: [], leaks: 0 });
    const bytes = new Uint8Array(CLUSTER);
    await image.read(CLUSTER, bytes);
    expect(Buffer.compare(bytes, data)).toBe(0);
    await image.write(CLUSTER + 512, new Uint8Array(512).fill(9));
    data.fill(9, 512, 1024);
    await image.read(CLUSTER, bytes);
    expect(Buffer.compare(bytes, data)).toBe(0);
    await image.close();
    expect(checkQcow2(file.image)).toEqual({ errors: [], leaks: 0 });
  });

  it('must decode to a cluster, no more and no less', async () => {
    await expect(read(await compressed(deflateRawSync(new Uint8Array(100))))).rejects.toThrow('too short');
    await expect(read(await compressed(deflateRawSync(new Uint8Array(2 ** 24))))).rejects.toThrow('damaged');
    await expect(read(await compressed(new Random(3).bytes(1000)))).rejects.toThrow(/damaged|too short/);
  });
});

it('a file that a backing chain needs fails a request when it fails, and not the ones above it', async () => {
  const base = new PowerLossFile(new Uint8Array(MiB).fill(4));
  const top = new PowerLossFile(buildQcow2({ size: MiB, backing: { name: 'base', format: 'raw' } }));
  const image = await openFiles({ '/top': top, '/base': base });
  await image.write(0, new Uint8Array(CLUSTER).fill(5));
  base.readv = async () => {
    throw new Error('EIO');
  };
  const bytes = new Uint8Array(512);
  await image.read(0, bytes);
  expect(bytes[0]).toBe(5);
  await expect(image.read(CLUSTER, bytes)).rejects.toThrow('EIO');
  await expect(image.write(CLUSTER, bytes)).rejects.toThrow('EIO'); // it needs what is around the sector
  await image.write(CLUSTER, new Uint8Array(CLUSTER).fill(6));
  await image.close();
  expect(checkQcow2(top.image)).toEqual({ errors: [], leaks: 0 });
});
