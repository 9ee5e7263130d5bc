import { existsSync, statSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig, type VmConfig } from '../../../src/config/schema.js';
import type { BlockBackend } from '../../../src/devices/blk/backend.js';
import { openDisk } from '../../../src/vm/disks.js';
import { scratch } from '../../support/scratch.js';

const folder = scratch();
afterAll(() => folder[Symbol.dispose]());
const path = folder.path('disk.img');

/** Opens what a configuration would. */
async function open(
  disk: NonNullable<VmConfig['disks']>[number],
): Promise<BlockBackend & { notices: string[] }> {
  const notices: string[] = [];
  const [options] = parseConfig({ kernel: 'none', disks: [disk] }).disks;
  const opened = await openDisk(options!, 'disks.0', (notice) => notices.push(notice));
  return Object.assign(opened, { notices });
}

async function firstByte(disk: BlockBackend): Promise<number | undefined> {
  const into = new Uint8Array(512);
  await disk.read(0, into);
  return into[0];
}

describe('a disk of the configuration', () => {
  beforeEach(() => writeFileSync(path, Buffer.alloc(8192, 1)));

  it.each([
    ['a path', () => path],
    ['a file: URL', () => pathToFileURL(path)],
    ['bytes', () => new Uint8Array(8192).fill(1)],
    ['an object', () => ({ size: 8192, read: (_offset: number, into: Uint8Array) => void into.fill(1) })],
  ])('may be %s', async (_what, source) => {
    const disk = await open(source());
    expect([disk.size, await firstByte(disk), disk.notices]).toEqual([8192, 1, []]);
    await disk.close?.();
  });

  it('leaves out the end of a file that is no whole sector, and says so', async () => {
    writeFileSync(path, Buffer.alloc(1000));
    const disk = await open(path);
    expect(disk.size).toBe(512);
    expect(disk.notices).toEqual([`${path}: its last 488 bytes are left out, a disk is a multiple of 512`]);
    await disk.close?.();
  });

  it.each([
    ['missing', () => folder.path('none'), 'no such file'],
    ['a folder', () => folder.folder, 'is a directory'],
  ])('is refused by path when it is %s', async (_what, source, message) => {
    await expect(open(source())).rejects.toMatchObject({
      code: 'ERR_FILE',
      message: `${source()}: ${message}`,
    });
  });

  it('is refused when it has not one sector', async () => {
    writeFileSync(path, Buffer.alloc(511));
    await expect(open(path)).rejects.toThrow('holds not one sector');
    await expect(open(new Uint8Array(511))).rejects.toThrow('disks.0: is smaller than a sector');
    await expect(open({ size: 511, read() {} })).rejects.toThrow('disks.0: size must be');
  });

  it('is refused while another machine has it, unless both only read', async () => {
    const writer = await open(path);
    await expect(open(path)).rejects.toThrow(`${path} is in use by another VM`);
    await expect(open({ source: path, readOnly: true })).rejects.toThrow('in use');
    await writer.close?.();
    const readers = [
      await open({ source: path, readOnly: true }),
      await open({ source: path, readOnly: true }),
    ];
    for (const reader of readers) await reader.close?.();
  });

  it('shares its file among overlays and never writes to it', async () => {
    const disks = [
      await open({ source: path, overlay: 'memory' }),
      await open({ source: path, overlay: 'memory' }),
    ];
    await disks[0]!.write!(0, new Uint8Array(512).fill(2));
    expect([await firstByte(disks[0]!), await firstByte(disks[1]!)]).toEqual([2, 1]);
    for (const disk of disks) await disk.close?.();
    const disk = await open(path);
    expect(await firstByte(disk)).toBe(1);
    await disk.close?.();
  });

  it('keeps an overlay in a file that has no name any more, and is no trap for one that is there', async () => {
    const top = folder.path('top');
    const disk = await open({ source: path, overlay: top });
    await disk.write!(512, new Uint8Array(512).fill(2));
    expect(existsSync(top)).toBe(false);
    expect(await firstByte(disk)).toBe(1);
    await disk.close?.();
    writeFileSync(top, 'precious');
    await expect(open({ source: path, overlay: top })).rejects.toThrow(`${top}: exists already`);
    expect(statSync(top).size).toBe(8);
    // The base was closed again.
    const writer = await open(path);
    await writer.close?.();
  });
});
