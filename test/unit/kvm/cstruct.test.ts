/** The layout rules and codecs; that our declarations match the headers is test/conformance's business. */
import { describe, expect, it } from 'vitest';
import { array, Flexible, sizeOf, struct } from '../../../src/kvm/cstruct.js';

const Inner = struct('inner', { a: 'u8', b: 'u16' });
const Mixed = struct('mixed', {
  byte: 'u8',
  half: 'u16',
  word: 'u32',
  tail: 'u8',
  wide: 'u64',
  signed: 's32',
  inner: Inner,
  bytes: array('u8', 3),
  words: array('u32', 2),
  end: 'u8',
});

describe('a struct declaration', () => {
  it('aligns each field naturally and the size to the strictest', () => {
    expect(Inner).toMatchObject({ size: 4, align: 2, offsets: { a: 0, b: 2 } });
    expect(Mixed.offsets).toEqual({
      byte: 0,
      half: 2,
      word: 4,
      tail: 8,
      wide: 16,
      signed: 24,
      inner: 28,
      bytes: 32,
      words: 36,
      end: 44,
    });
    expect(Mixed.size).toBe(48);
    expect(Mixed.align).toBe(8);
  });

  it('knows the size of arrays and of structs in arrays', () => {
    expect(sizeOf('u64')).toBe(8);
    expect(sizeOf(array('u16', 5))).toBe(10);
    expect(sizeOf(array(Inner, 3))).toBe(12);
    expect(struct('s', { pad: 'u8', list: array(Inner, 2) }).offsets.list).toBe(2);
  });
});

describe('encode and decode', () => {
  const value = {
    byte: 0x12,
    half: 0x3456,
    word: 0x89ab_cdef,
    tail: 0xff,
    wide: 0xfedc_ba98_7654_3210n,
    signed: -2,
    inner: { a: 7, b: 0xffff },
    bytes: Uint8Array.of(1, 2, 3),
    words: [0xffff_ffff, 5],
    end: 1,
  };

  it('are little-endian at the declared offsets', () => {
    const bytes = Mixed.encode(value);
    expect([...bytes.subarray(0, 9)]).toEqual([0x12, 0, 0x56, 0x34, 0xef, 0xcd, 0xab, 0x89, 0xff]);
    expect([...bytes.subarray(16, 24)]).toEqual([0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe]);
    expect([...bytes.subarray(24, 28)]).toEqual([0xfe, 0xff, 0xff, 0xff]);
  });

  it('are each other’s inverse', () => {
    expect(Mixed.decode(Mixed.encode(value))).toEqual(value);
  });

  it('leave out what is not given as zero, nested too', () => {
    const decoded = Mixed.decode(Mixed.encode({ inner: { b: 3 }, words: [9] }));
    expect(decoded).toMatchObject({ byte: 0, wide: 0n, inner: { a: 0, b: 3 }, words: [9, 0] });
  });

  it('always give a 64-bit field as a bigint, small or large', () => {
    const Wide = struct('wide', { u: 'u64', s: 's64' });
    expect(Wide.decode(Wide.encode({ u: 0n, s: -1n }))).toEqual({ u: 0n, s: -1n });
    expect(Wide.decode(Wide.encode({ u: 2n ** 64n - 1n, s: -(2n ** 63n) }))).toEqual({
      u: 2n ** 64n - 1n,
      s: -(2n ** 63n),
    });
  });

  it('decode in the middle of a buffer, and copy byte arrays out of it', () => {
    const buffer = new Uint8Array(64);
    buffer.set(Mixed.encode(value), 10);
    const decoded = Mixed.decode(buffer.subarray(2), 8);
    expect(decoded).toEqual(value);
    buffer.fill(0);
    expect([...decoded.bytes]).toEqual([1, 2, 3]);
  });

  it('refuse a field that is not declared, and an array that is too long', () => {
    expect(() => Inner.encode({ c: 1 } as never)).toThrow('struct inner has no field c');
    expect(() => Mixed.encode({ words: [1, 2, 3] })).toThrow('3 items for an array of 2');
  });
});

describe('a struct with entries behind it', () => {
  const List = new Flexible(struct('header', { nent: 'u32', padding: 'u32' }), Inner, 'nent');

  it('has the size of its header alone: the ioctl’s number is made from it', () => expect(List.size).toBe(8));

  it('counts and carries its entries', () => {
    const entries = [
      { a: 1, b: 2 },
      { a: 3, b: 4 },
    ];
    const bytes = List.encode(entries);
    expect(bytes.length).toBe(16);
    expect(new DataView(bytes.buffer).getUint32(0, true)).toBe(2);
    expect(List.decode(bytes)).toEqual(entries);
    expect(List.decode(List.encode([]))).toEqual([]);
  });

  it('decodes as many entries as the kernel said, not as there was room for', () => {
    const bytes = List.encode([{ a: 1, b: 1 }, {}, {}]);
    new DataView(bytes.buffer).setUint32(0, 1, true);
    expect(List.decode(bytes)).toEqual([{ a: 1, b: 1 }]);
  });
});
