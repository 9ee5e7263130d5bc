/** What an embedder may do to a disk of a running VM. */
import { existsSync, statSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { FileDisk } from '../../../src/backends/file-disk.js';
import { MemoryDisk } from '../../../src/backends/memory-disk.js';
import { OverlayDisk } from '../../../src/backends/overlay-disk.js';
import { StateError, VmmError } from '../../../src/base/errors.js';
import type { BlockBackend } from '../../../src/devices/blk/backend.js';
import { BlkDevice } from '../../../src/devices/blk/device.js';
import { GuestDisk } from '../../../src/vm/guest-disk.js';
import { header, OK, T } from '../../support/blk-driver.js';
import { plug } from '../../support/plug.js';
import { scratch } from '../../support/scratch.js';
import { TestDisk } from '../../support/test-disk.js';

const folder = scratch();
const path = folder.path('disk.img');
afterAll(() => folder[Symbol.dispose]());
beforeEach(() => writeFileSync(path, Buffer.alloc(8192, 1)));

/** A disk with a driver that reads its first sector. `replace` is given back ends as they are. */
function attached(disk: BlockBackend) {
  const { device, driver } = plug(new BlkDevice('root', { disk }));
  driver.start();
  const firstSector = async (): Promise<{ status: number; byte: number }> => {
    const posted = driver.queue(0).add([header(T.IN), 512, 1]);
    driver.queue(0).kick();
    await driver.queue(0).take();
    const bytes = posted.written();
    return { status: bytes.at(-1)!, byte: bytes[0]! };
  };
  const open = async (source: unknown): Promise<BlockBackend> => source as BlockBackend;
  return { disk: new GuestDisk('root', device, open), firstSector, capacity: () => driver.config(0, 8) };
}

describe('the size of a disk', () => {
  it('that is a file is made larger and smaller, in whole sectors', async () => {
    await using file = await FileDisk.open(path);
    const { disk, capacity } = attached(file);
    expect(await disk.resize(16_384 + 100)).toBe(16_384);
    expect([statSync(path).size, capacity()]).toEqual([16_384, 32]);
    expect(await disk.resize(4096)).toBe(4096);
    expect([statSync(path).size, capacity()]).toEqual([4096, 8]);
  });

  it('is looked up when somebody else changed it', async () => {
    await using file = await FileDisk.open(path);
    const { disk, capacity } = attached(file);
    truncateSync(path, 65_536);
    expect([disk.size, await disk.resize(), capacity()]).toEqual([8192, 65_536, 128]);
  });

  it("is an object's own affair", async () => {
    const own = new TestDisk({ size: 8192 });
    const { disk, capacity } = attached(own);
    await expect(disk.resize(4096)).rejects.toThrow(VmmError);
    own.size = 4096;
    expect([await disk.resize(), capacity()]).toEqual([4096, 8]);
  });
});

describe('another disk in its place', () => {
  it('is read from then on, and the first is closed', async () => {
    const [first, second] = [new TestDisk(), new TestDisk({ size: 8192 })];
    second.bytes.fill(0x77);
    const { disk, firstSector, capacity } = attached(first);
    await disk.replace(second);
    expect(await firstSector()).toEqual({ status: OK, byte: 0x77 });
    expect([first.closed, second.closed, capacity()]).toEqual([1, 0, 16]);
  });

  it('is closed, and the first stays, when it cannot do what the guest was promised', async () => {
    const [first, second] = [new TestDisk(), new TestDisk({ readOnly: true })];
    const { disk, firstSector } = attached(first);
    await expect(disk.replace(second)).rejects.toMatchObject({ code: 'ERR_VMM_CONFIG' });
    expect(await firstSector()).toEqual({ status: OK, byte: first.bytes[0] });
    expect([first.closed, second.closed]).toEqual([0, 1]);
  });
});

it('a file that is removed meanwhile stays the disk until it is closed', async () => {
  await using file = await FileDisk.open(path);
  const { firstSector } = attached(file);
  unlinkSync(path);
  expect(await firstSector()).toEqual({ status: OK, byte: 1 });
  expect(existsSync(path)).toBe(false);
});

it('a file that somebody cut short meanwhile is an error for the guest where it has nothing', async () => {
  await using file = await FileDisk.open(path);
  const { firstSector } = attached(file);
  truncateSync(path, 0);
  expect((await firstSector()).status).not.toBe(OK);
  truncateSync(path, 8192);
  expect(await firstSector()).toEqual({ status: OK, byte: 0 });
});

it('an overlay goes back to its base, and other disks have nothing to go back to', async () => {
  const base = new MemoryDisk(new Uint8Array(8192).fill(1), { readOnly: true });
  const overlay = new OverlayDisk(base, { top: new MemoryDisk(8192) });
  const { disk, firstSector } = attached(overlay);
  await overlay.write!(0, new Uint8Array(512).fill(2));
  expect((await firstSector()).byte).toBe(2);
  await disk.reset();
  expect((await firstSector()).byte).toBe(1);
  await expect(attached(base).disk.reset()).rejects.toThrow(StateError);
});

it('limits hold from the next request on, and go away again', async () => {
  const { disk, firstSector } = attached(new TestDisk());
  disk.limit({ ops: { size: 1, refillMs: 3_600_000 } });
  await firstSector();
  const late = firstSector();
  const first = await Promise.race([late, new Promise((resolve) => setTimeout(() => resolve('waits'), 30))]);
  expect(first).toBe('waits');
  disk.limit();
  expect((await late).status).toBe(OK);
});
