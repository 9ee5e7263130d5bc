import { describe, expect, it } from 'vitest';
import { exercise } from '../../../support/disk-model.js';
import { PowerLossFile } from '../../../support/power-loss-file.js';
import { type BuildOptions, buildQcow2 } from '../../../support/qcow2-builder.js';
import { checkQcow2 } from '../../../support/qcow2-check.js';
import { openFiles, openInMemory, readAll } from '../../../support/qcow2-memory.js';
import { Random } from '../../../support/random.js';

const KiB = 1024;
const MiB = 1024 * KiB;

/** Requests, a clean end, a check by other code, and the same bytes after opening again. */
async function roundTrip(options: BuildOptions, seed: number, rounds = 60): Promise<void> {
  const { image, file } = await openInMemory(buildQcow2(options));
  const random = new Random(seed);
  file.delay = () =>
    random.chance(0.3) ? new Promise((resolve) => setImmediate(resolve)) : Promise.resolve();
  const model = new Uint8Array(image.size);
  await exercise(image, model, new Random(seed + 1), { rounds, most: 64 * KiB, flush: 0.2 });
  await image.close();
  expect(checkQcow2(file.image)).toEqual({ errors: [], leaks: 0 });
  const again = await openInMemory(file.image, { readOnly: true });
  expect(Buffer.compare(await readAll(again.image), model)).toBe(0);
}

describe('a qcow2 image that is written', () => {
  it.each([9, 10, 12, 16, 21])('holds what was written with clusters of 2^%i bytes', async (clusterBits) => {
    await roundTrip({ size: clusterBits === 21 ? 5 * MiB : MiB, clusterBits }, clusterBits, 30);
  });

  it.each([0, 1, 2, 3, 5, 6])('counts references in 2^%i bits', async (refcountOrder) => {
    await roundTrip({ size: MiB / 2, clusterBits: 9, refcountOrder }, 100 + refcountOrder, 30);
  });

  it('may be of version 2', async () => {
    await roundTrip({ size: 2 * MiB, clusterBits: 12, version: 2 }, 200);
  });

  it('may end in the middle of a cluster', async () => {
    await roundTrip({ size: MiB + 512 * 3, clusterBits: 16 }, 201);
  });

  it('outgrows its refcount table', async () => {
    // One table cluster of 64 entries, 64 counts a block: 2 MiB of file.
    const { image, file } = await openInMemory(
      buildQcow2({ size: 8 * MiB, clusterBits: 9, refcountOrder: 6 }),
    );
    const bytes = new Random(1).bytes(6 * MiB);
    for (let at = 0; at < bytes.length; at += 256 * KiB)
      await image.write(at, bytes.subarray(at, at + 256 * KiB));
    await image.close();
    expect(new DataView(file.image.buffer).getUint32(56)).toBeGreaterThan(1);
    expect(checkQcow2(file.image)).toEqual({ errors: [], leaks: 0 });
    const again = await openInMemory(file.image);
    expect(Buffer.compare((await readAll(again.image)).subarray(0, bytes.length), bytes)).toBe(0);
  });

  it('serves overlapping allocations of one cluster in any order, losing none', async () => {
    const { image, file } = await openInMemory(buildQcow2({ size: MiB, clusterBits: 16 }));
    file.delay = () => new Promise((resolve) => setImmediate(resolve));
    const writes = Array.from({ length: 128 }, (_, index) =>
      image.write(index * 512, new Uint8Array(512).fill(index + 1)),
    );
    await Promise.all(writes);
    const bytes = await readAll(image);
    for (let index = 0; index < 128; index += 1) expect(bytes[index * 512 + 511]).toBe(index + 1);
    await image.close();
    expect(file.image.length).toBe(6 * 64 * KiB); // header, three tables, one L2 table, one cluster
    expect(checkQcow2(file.image)).toEqual({ errors: [], leaks: 0 });
  });

  it('gives discarded clusters back to the host and uses them again', async () => {
    const { image, file } = await openInMemory(buildQcow2({ size: 4 * MiB, clusterBits: 16 }));
    await image.write(0, new Uint8Array(2 * MiB).fill(1));
    await image.flush();
    const before = file.size;
    await image.discard(0, 2 * MiB);
    await image.flush();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(file.punched).toBe(2 * MiB);
    expect((await readAll(image)).every((byte) => byte === 0)).toBe(true);
    await image.write(2 * MiB, new Uint8Array(2 * MiB).fill(2));
    await image.close();
    expect(file.size).toBe(before);
    expect(checkQcow2(file.image)).toEqual({ errors: [], leaks: 0 });
  });

  it('does not reuse a discarded cluster while a request that found it is in flight', async () => {
    const { image, file } = await openInMemory(buildQcow2({ size: MiB, clusterBits: 16 }));
    await image.write(0, new Uint8Array(64 * KiB).fill(1));
    await image.flush();
    // A write in place that takes long: by the time it lands, its cluster must not be somebody else's.
    let finish: (() => void) | undefined;
    file.delay = () => (finish ? Promise.resolve() : new Promise((resolve) => (finish = resolve)));
    const slow = image.write(0, new Uint8Array(512).fill(9)) as Promise<void>;
    await image.discard(0, 64 * KiB);
    await image.flush();
    for (let index = 1; index < 8; index += 1) {
      await image.write(index * 64 * KiB, new Uint8Array(64 * KiB).fill(0x10 + index));
      await image.flush();
    }
    finish!();
    await slow;
    const bytes = await readAll(image);
    for (let index = 1; index < 8; index += 1) {
      const cluster = bytes.subarray(index * 64 * KiB, (index + 1) * 64 * KiB);
      expect(cluster.every((byte) => byte === 0x10 + index)).toBe(true);
    }
    await image.close();
    expect(checkQcow2(file.image)).toEqual({ errors: [], leaks: 0 });
  });

  it('keeps storage for zeroes unless told it may give it back', async () => {
    const { image, file } = await openInMemory(buildQcow2({ size: MiB, clusterBits: 16 }));
    await image.write(0, new Uint8Array(MiB).fill(1));
    await image.flush();
    const { size } = file;
    await image.writeZeroes(0, MiB, false);
    await image.write(512, new Uint8Array(512).fill(7));
    const bytes = await readAll(image);
    expect([bytes[0], bytes[511], bytes[512], bytes[1023], bytes[1024], bytes[MiB - 1]]).toEqual([
      0, 0, 7, 7, 0, 0,
    ]);
    await image.close();
    expect([file.punched, file.size]).toEqual([0, size]);
    expect(checkQcow2(file.image)).toEqual({ errors: [], leaks: 0 });
  });

  it('shows nothing of what a reused cluster held, on a host that cannot punch holes', async () => {
    const { image, file } = await openInMemory(buildQcow2({ size: MiB, clusterBits: 16 }));
    file.punch = undefined as never;
    await image.write(0, new Uint8Array(512 * KiB).fill(1));
    await image.discard(0, 512 * KiB);
    await image.flush();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const { size } = file;
    await image.write(700 * KiB, new Uint8Array(512).fill(2));
    const bytes = await readAll(image);
    expect([bytes.filter((byte) => byte !== 0).length, bytes[700 * KiB]]).toEqual([512, 2]);
    await image.close();
    expect(file.size).toBe(size);
  });

  it('clears feature bits that writing makes untrue, before it writes anything else', async () => {
    const { image, file } = await openInMemory(buildQcow2({ size: MiB, autoclear: 0x8000_0000_0000_0001n }));
    const autoclear = (): bigint => new DataView(file.image.buffer).getBigUint64(88);
    await readAll(image);
    expect(autoclear()).toBe(0x8000_0000_0000_0001n);
    const offsets: number[] = [];
    file.beforeWrite = (offset) => offsets.push(offset);
    await Promise.all([image.write(0, new Uint8Array(512)), image.write(4096, new Uint8Array(512))]);
    expect(offsets[0]).toBe(0);
    expect(offsets.filter((offset) => offset === 0)).toHaveLength(1);
    expect(autoclear()).toBe(0n);
    await image.close();
  });

  it('touches nothing of a file it only read', async () => {
    const bytes = buildQcow2({ size: MiB, autoclear: 1n });
    const { image, file } = await openInMemory(bytes);
    await readAll(image);
    await image.close();
    expect(file.writes).toBe(0);
  });

  it('copies what a partial write leaves out from a shorter backing file', async () => {
    const base = new PowerLossFile(new Random(5).bytes(100 * KiB));
    const top = new PowerLossFile(buildQcow2({ size: MiB, backing: { name: 'base', format: 'raw' } }));
    const image = await openFiles({ '/top': top, '/base': base });
    const model = new Uint8Array(MiB);
    model.set(base.image);
    await exercise(image, model, new Random(6), { rounds: 80, most: 128 * KiB });
    expect(Buffer.compare(await readAll(image), model)).toBe(0);
    await image.close();
    expect(base.writes).toBe(0);
    expect(checkQcow2(top.image)).toEqual({ errors: [], leaks: 0 });
  });

  it('reads zeroes behind the end of a shorter backing file, whatever the buffer held', async () => {
    const base = new PowerLossFile(new Uint8Array(100 * KiB).fill(1));
    const top = new PowerLossFile(buildQcow2({ size: MiB, backing: { name: 'base', format: 'raw' } }));
    const bytes = await readAll(await openFiles({ '/top': top, '/base': base }));
    expect([bytes[100 * KiB - 1], bytes[100 * KiB], bytes[MiB - 1]]).toEqual([1, 0, 0]);
  });

  it('leaves data alone on discard where version 2 would show the backing file', async () => {
    const base = new PowerLossFile(new Uint8Array(MiB).fill(1));
    const backing = { name: 'base', format: 'raw' };
    const top = new PowerLossFile(buildQcow2({ size: MiB, version: 2, backing }));
    const image = await openFiles({ '/top': top, '/base': base });
    await image.write(0, new Uint8Array(128 * KiB).fill(2));
    await image.discard(0, 64 * KiB);
    await image.writeZeroes(64 * KiB, 64 * KiB, true);
    const bytes = await readAll(image);
    expect([bytes[0], bytes[64 * KiB], bytes[128 * KiB]]).toEqual([2, 0, 1]);
    await image.close();
    expect(checkQcow2(top.image)).toEqual({ errors: [], leaks: 0 });
  });

  it('copies an L2 table that is not its own, and uses the place of the old one again', async () => {
    // 64 KiB clusters: an L2 table maps 512 MiB.
    const first = await openInMemory(buildQcow2({ size: 2 ** 30 }));
    await first.image.write(0, new Uint8Array(4 * 64 * KiB).fill(1));
    await first.image.close();
    const bytes = first.file.image.slice();
    const view = new DataView(bytes.buffer);
    const old = view.getBigUint64(3 * 64 * KiB) & ~(1n << 63n);
    view.setBigUint64(3 * 64 * KiB, old); // as after a snapshot that was deleted: shared, as far as the flag says
    const { image, file } = await openInMemory(bytes);
    await image.discard(0, 64 * KiB); // changes the table, and leaves a place for data in front of the old one
    await image.flush();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await image.write(2 ** 29, new Uint8Array(512).fill(3));
    const tail = new Uint8Array(4 * 64 * KiB);
    await image.read(2 ** 29, tail);
    expect([tail[0], tail[512], tail[64 * KiB], tail.at(-1)]).toEqual([3, 0, 0, 0]);
    await image.close();
    const l1 = new DataView(file.image.buffer);
    const tables = [0, 8].map((at) => l1.getBigUint64(3 * 64 * KiB + at) & ~(1n << 63n));
    expect(tables[0]).not.toBe(old);
    expect(tables[1]).toBe(old);
    expect(checkQcow2(file.image)).toEqual({ errors: [], leaks: 0 });
  });
});
