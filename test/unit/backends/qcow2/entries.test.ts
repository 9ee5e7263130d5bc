import { describe, expect, it } from 'vitest';
import { decodeL2Entry, encodeL2Entry } from '../../../../src/backends/qcow2/l2-entry.js';
import { maxRefcount, readRefcount, writeRefcount } from '../../../../src/backends/qcow2/refcount-width.js';
import { Random } from '../../../support/random.js';

const decode = (entry: bigint, bits = 16, version: 2 | 3 = 3) =>
  decodeL2Entry(Number(entry >> 32n), Number(entry & 0xffff_ffffn), bits, version);

describe('an L2 entry', () => {
  it('of zero is an unallocated cluster', () => {
    expect(decode(0n).kind).toBe('unallocated');
  });

  it('holds 56 bits of offset and the copied flag', () => {
    expect(decode((1n << 63n) | 0xab_cdef_1234_0000n)).toEqual({
      kind: 'data',
      offset: 0xab_cdef_1234_0000,
      length: 0,
      copied: true,
    });
  });

  it('may be a zero cluster with or without storage', () => {
    expect(decode(1n)).toMatchObject({ kind: 'zero', offset: 0, copied: false });
    expect(decode((1n << 63n) | 0x5_0001n)).toMatchObject({ kind: 'zero', offset: 0x5_0000, copied: true });
  });

  it('of a compressed cluster gives its start and where its last sector ends', () => {
    // 64 KiB clusters: 54 bits of offset, 8 bits of further sectors.
    const entry = (1n << 62n) | (3n << 54n) | 0x12_3456n;
    expect(decode(entry)).toEqual({
      kind: 'compressed',
      offset: 0x12_3456,
      length: 4 * 512 - 0x56,
      copied: false,
    });
    // 2 MiB clusters: 49 bits of offset, 13 bits of sectors; 512-byte clusters: 61 and 1.
    expect(decode((1n << 62n) | (0x1fffn << 49n) | 512n, 21).length).toBe(2 ** 22);
    expect(decode((1n << 62n) | (1n << 61n) | 512n, 9)).toMatchObject({ offset: 512, length: 1024 });
  });

  it.each([
    ['reserved low bits', 0x5_0002n, 16, 3],
    ['reserved high bits', (1n << 57n) | 0x5_0000n, 16, 3],
    ['the zero flag in version 2', 0x5_0001n, 16, 2],
    ['an unaligned offset', 0x5_0200n, 16, 3],
    ['the header as its cluster', 1n << 63n, 16, 3],
    ['both flags', (3n << 62n) | 0x200n, 16, 3],
  ] as const)('with %s is refused', (_, entry, bits, version) => {
    expect(() => decode(entry, bits, version)).toThrow();
  });

  it('survives encoding', () => {
    for (const entry of [1n, (1n << 63n) | 0x5_0001n, (1n << 63n) | 0xff_ffff_ffff_0000n]) {
      const [high, low] = encodeL2Entry(decode(entry));
      expect((BigInt(high) << 32n) | BigInt(low)).toBe(entry);
    }
  });
});

describe.each([0, 1, 2, 3, 4, 5, 6])('reference counts of 2^%i bits', (order) => {
  it('keep their neighbours', () => {
    const random = new Random(order);
    const view = new DataView(new ArrayBuffer(512));
    const count = (512 * 8) / 2 ** order;
    const model = Array.from({ length: count }, () => 0);
    for (let step = 0; step < 500; step += 1) {
      const index = random.below(count);
      const value = random.chance(0.5)
        ? maxRefcount(order)
        : Math.floor((random.next() / 2 ** 32) * maxRefcount(order));
      writeRefcount(view, order, index, value);
      model[index] = value;
    }
    expect(model.map((_, index) => readRefcount(view, order, index))).toEqual(model);
  });
});

it('one-bit counts start at the least significant bit', () => {
  const view = new DataView(new ArrayBuffer(512));
  writeRefcount(view, 0, 9, 1);
  expect(view.getUint8(1)).toBe(2);
});
