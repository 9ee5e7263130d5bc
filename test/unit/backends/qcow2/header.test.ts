import { describe, expect, it } from 'vitest';
import { parseHeader } from '../../../../src/backends/qcow2/header.js';
import { type BuildOptions, buildQcow2 } from '../../../support/qcow2-builder.js';

const SIZE = 64 * 1024 * 1024;
const header = (options: Partial<BuildOptions> = {}, edit: (view: DataView) => void = () => {}) => {
  const image = buildQcow2({ size: SIZE, ...options });
  edit(new DataView(image.buffer));
  const cluster = 2 ** (options.clusterBits ?? 16);
  return parseHeader(image.subarray(0, Math.min(cluster, image.length)), image.length);
};

describe('a qcow2 header', () => {
  it('gives version, sizes and tables', () => {
    expect(header({ clusterBits: 12, refcountOrder: 5 })).toMatchObject({
      version: 3,
      clusterSize: 4096,
      size: SIZE,
      l1Size: 32,
      refcountTableOffset: 4096,
      refcountOrder: 5,
      compression: 'deflate',
      backing: undefined,
    });
  });

  it('of version 2 has 16-bit counts and no features, whatever follows', () => {
    const old = header({ version: 2, backing: { name: 'base' } }, (view) => view.setUint32(96, 1));
    expect(old).toMatchObject({ version: 2, refcountOrder: 4, dirty: false, autoclear: 0n });
    expect(old.backing).toEqual({ name: 'base', format: undefined });
  });

  it('names the backing file and its format', () => {
    expect(header({ backing: { name: 'dir/grundbild.raw', format: 'raw' } }).backing).toEqual({
      name: 'dir/grundbild.raw',
      format: 'raw',
    });
  });

  it('skips header extensions it does not know', () => {
    const extensions = [{ type: 0x1234_5678, data: new Uint8Array(13) }];
    expect(header({ extensions, backing: { name: 'b', format: 'qcow2' } }).backing?.format).toBe('qcow2');
  });

  it('tells dirty from corrupt', () => {
    expect(header({ incompatible: 1n })).toMatchObject({ dirty: true, corrupt: false });
    expect(header({ incompatible: 2n })).toMatchObject({ dirty: false, corrupt: true });
  });

  it('knows zstd by its type and feature bit', () => {
    expect(header({ incompatible: 8n, compressionType: 1 }).compression).toBe('zstd');
  });

  it('refuses an unknown feature by the name the image gives it', () => {
    const entry = new Uint8Array(48);
    entry[1] = 17; // type 0: incompatible, bit 17
    entry.set(new TextEncoder().encode('time travel'), 2);
    const extensions = [{ type: 0x6803_f857, data: entry }];
    expect(() => header({ incompatible: 1n << 17n, extensions })).toThrow('time travel');
    expect(() => header({ incompatible: 1n << 17n })).toThrow('incompatible feature bit 17');
  });

  it.each([
    ['external data file', { incompatible: 4n }],
    ['extended L2 entries', { incompatible: 16n }],
    ['contradicts its feature bit', { incompatible: 8n }],
    ['contradicts its feature bit', { compressionType: 1 }],
    ['compression type 2 is unknown', { incompatible: 8n, compressionType: 2 }],
    ['2^7 bits', { refcountOrder: 7 }],
  ])('refuses: %s', (message, options) => {
    // The builder cannot lay out counts of 2^7 bits; the field alone is what counts here.
    const edit = (view: DataView): void => {
      if ('refcountOrder' in options) view.setUint32(96, 7);
    };
    expect(() => header({ ...options, refcountOrder: 4 }, edit)).toThrow(message);
  });

  const u64 = (at: number, value: bigint) => (view: DataView) => view.setBigUint64(at, value);
  const u32 = (at: number, value: number) => (view: DataView) => view.setUint32(at, value);
  it.each([
    ['not a qcow2 image', u32(0, 0x514649fa)],
    ['version 4', u32(4, 4)],
    ['cluster size of 2^8', u32(20, 8)],
    ['cluster size of 2^22', u32(20, 22)],
    ['encrypted', u32(32, 1)],
    ['LUKS', u32(32, 2)],
    ['L1 table is too large', u32(36, 2 ** 22 + 1)],
    ['too small for a disk', u64(24, 1n << 50n)],
    ['the virtual disk size is out of range', u64(24, 1n << 60n)],
    ['the L1 table is not aligned', u64(40, 0x3_0200n)],
    ['the L1 table overlaps the header', u64(40, 0n)],
    ['lies outside the file', u64(40, 0x100_0000n)],
    ['overlap at', u64(40, 0x1_0000n)],
    ['no refcount table', u32(56, 0)],
    ['refcount table is too large', u32(56, 129)],
    ['refcount table at', u64(48, 0x1000_0000n)],
    ['snapshots are too many', u32(60, 70_000)],
    ['the snapshot table overlaps the header', u32(60, 1)],
    ['its own length as 100', u32(100, 100)],
    ['its own length as 108', u32(100, 108)],
    ['its own length as 4294967288', u32(100, 0xffff_fff8)],
    ['header extension', u32(116, 0x0fff_ffff)],
  ])('refuses: %s', (message, edit) => {
    expect(() => header({ extensions: [{ type: 1, data: new Uint8Array(8) }] }, edit)).toThrow(message);
  });

  it.each([
    ['too long', u32(16, 1024)],
    ['too long', u32(16, 0)],
    ['outside the first cluster', u64(8, 0x1_0000n)],
    ['NUL', (view: DataView) => view.setUint8(Number(view.getBigUint64(8)), 0)],
  ])('refuses a backing file name that is %s', (message, edit) => {
    expect(() => header({ backing: { name: 'base', format: 'raw' } }, edit)).toThrow(message);
  });

  it('refuses a file shorter than a header', () => {
    expect(() => parseHeader(new Uint8Array(10), 10)).toThrow('not a qcow2 image');
    expect(() => parseHeader(buildQcow2({ size: SIZE }).subarray(0, 80), 80)).toThrow('cut off');
  });
});
