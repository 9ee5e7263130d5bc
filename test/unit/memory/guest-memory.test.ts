import { describe, expect, it } from 'vitest';
import { GuestFault } from '../../../src/base/errors.js';
import { GiB, gpa } from '../../../src/base/units.js';
import { GuestMemory } from '../../../src/memory/guest-memory.js';

const LOW = 0x4000;
const HIGH = 4 * GiB;

/** RAM as around the MMIO gap: 16 KiB at 0, 8 KiB at 4 GiB. */
function twoRegions(): { memory: GuestMemory; low: Uint8Array; high: Uint8Array } {
  const low = new Uint8Array(LOW);
  const high = new Uint8Array(0x2000);
  const memory = new GuestMemory([
    { base: gpa(0), size: low.length, views: [low] },
    { base: gpa(HIGH), size: high.length, views: [high] },
  ]);
  return { memory, low, high };
}

describe('guest memory', () => {
  it('is as large as its regions together', () => expect(twoRegions().memory.size).toBe(0x6000));

  it('reads and writes little-endian fields of each width, aligned or not', () => {
    const { memory, low } = twoRegions();
    memory.writeU8(gpa(0x10), 0x1fe);
    memory.writeU16(gpa(0x21), 0x1234);
    memory.writeU32(gpa(0x33), 0xfedc_ba98);
    memory.writeU64(gpa(0x41), 0x8877_6655_4433_2211n);
    expect(low[0x10]).toBe(0xfe);
    expect([...low.subarray(0x20, 0x24)]).toEqual([0, 0x34, 0x12, 0]);
    expect([...low.subarray(0x33, 0x37)]).toEqual([0x98, 0xba, 0xdc, 0xfe]);
    expect([...low.subarray(0x41, 0x49)]).toEqual([0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
    expect(memory.readU8(gpa(0x10))).toBe(0xfe);
    expect(memory.readU16(gpa(0x21))).toBe(0x1234);
    expect(memory.readU32(gpa(0x33))).toBe(0xfedc_ba98);
    expect(memory.readU64(gpa(0x41))).toBe(0x8877_6655_4433_2211n);
  });

  it('keeps the regions apart, going to and fro between them', () => {
    const { memory, low, high } = twoRegions();
    memory.writeU32(gpa(HIGH), 2);
    memory.writeU32(gpa(0), 1);
    memory.writeU32(gpa(HIGH + 0x1ffc), 4);
    memory.writeU32(gpa(LOW - 4), 3);
    expect([low[0], low[LOW - 4], high[0], high[0x1ffc]]).toEqual([1, 3, 2, 4]);
  });

  it('hands out the bytes themselves, not a copy', () => {
    const { memory, high } = twoRegions();
    const slice = memory.slice(gpa(HIGH + 0x100), 0x10);
    slice[3] = 7;
    expect(high[0x103]).toBe(7);
    high[0x104] = 9;
    expect(slice[4]).toBe(9);
    expect(slice.length).toBe(0x10);
  });

  it('gives a whole region, and empty ranges up to its very end', () => {
    const { memory } = twoRegions();
    expect(memory.slice(gpa(0), LOW).length).toBe(LOW);
    expect(memory.slice(gpa(LOW), 0).length).toBe(0);
    expect(memory.slice(gpa(HIGH + 0x2000), 0).length).toBe(0);
  });

  it('copies bytes in', () => {
    const { memory, high } = twoRegions();
    memory.write(gpa(HIGH + 0x1ffd), Uint8Array.of(1, 2, 3));
    expect([...high.subarray(0x1ffc)]).toEqual([0, 1, 2, 3]);
    memory.write(gpa(0), new Uint8Array(0));
  });

  it('loads and stores 16-bit indices', () => {
    const { memory, high } = twoRegions();
    memory.storeU16(gpa(HIGH + 2), 0x1_ffee);
    expect([...high.subarray(2, 4)]).toEqual([0xee, 0xff]);
    expect(memory.loadU16(gpa(HIGH + 2))).toBe(0xffee);
  });

  it('reads an address as a number, exactly up to 52 bits', () => {
    const { memory } = twoRegions();
    for (const value of [0, 0x1000, 0xffff_ffff, 2 ** 32, 2 ** 52 - 1]) {
      memory.writeU64(gpa(8), BigInt(value));
      expect(memory.readGpa(gpa(8))).toBe(value);
    }
  });

  it('refuses an address above 52 bits (SDM vol. 3 §4.1.4)', () => {
    const { memory } = twoRegions();
    for (const value of [2n ** 52n, 2n ** 63n, 2n ** 64n - 1n]) {
      memory.writeU64(gpa(8), value);
      expect(() => memory.readGpa(gpa(8))).toThrow('SDM vol. 3 §4.1.4');
    }
  });
});

describe('guest memory refuses with a GuestFault', () => {
  const outside: [string, number, number][] = [
    ['the gap', LOW, 1],
    ['a range that runs into the gap', LOW - 4, 8],
    ['the last byte below the upper region', HIGH - 1, 1],
    ['a range that starts in the gap and ends in RAM', HIGH - 4, 8],
    ['a range over both regions and all between', 0, HIGH + 1],
    ['the end of RAM', HIGH + 0x2000, 1],
    ['a range that runs over the end of RAM', HIGH + 0x1fff, 2],
    ['a negative address', -1, 1],
    ['a negative length', 0x10, -1],
    ['2^53', 2 ** 53, 8],
    ['the largest number', Number.MAX_VALUE, 1],
    ['infinity', Number.POSITIVE_INFINITY, 1],
    ['no number at all', Number.NaN, 1],
    ['a length that is no number', 0, Number.NaN],
  ];

  it.each(outside)('%s', (_what, at, length) => {
    const { memory } = twoRegions();
    expect(() => memory.slice(gpa(at), length)).toThrow(GuestFault);
    expect(() => [...memory.slices(gpa(at), length)]).toThrow(GuestFault);
    expect(memory.contains(gpa(at), length)).toBe(false);
  });

  it.each(outside.filter(([, , length]) => length === 1))('%s, in every accessor', (_what, at) => {
    const { memory, low, high } = twoRegions();
    const address = gpa(at);
    const accesses: (() => unknown)[] = [
      () => memory.write(address, new Uint8Array(1)),
      () => memory.readU8(address),
      () => memory.readU16(address),
      () => memory.readU32(address),
      () => memory.readU64(address),
      () => memory.readGpa(address),
      () => memory.loadU16(address),
      () => memory.writeU8(address, 1),
      () => memory.writeU16(address, 1),
      () => memory.writeU32(address, 1),
      () => memory.writeU64(address, 1n),
      () => memory.storeU16(address, 1),
    ];
    for (const access of accesses) expect(access).toThrow(GuestFault);
    expect([...low, ...high].every((byte) => byte === 0)).toBe(true);
  });

  it('an odd address for a 16-bit index (virtio 1.2 §2.7)', () => {
    const { memory } = twoRegions();
    expect(() => memory.loadU16(gpa(1))).toThrow('virtio 1.2 §2.7');
    expect(() => memory.storeU16(gpa(HIGH + 3), 0)).toThrow('virtio 1.2 §2.7');
  });

  it('the address in its message, for whoever debugs a driver', () => {
    expect(() => twoRegions().memory.readU32(gpa(0xc000_1000))).toThrow('4 bytes at 0xc000_1000 are not RAM');
  });

  it('everything when there is no RAM', () => {
    expect(() => new GuestMemory([]).readU8(gpa(0))).toThrow(GuestFault);
  });
});

describe('guest memory over a plain buffer', () => {
  it('starts where it is told', () => {
    const bytes = new Uint8Array(0x100);
    const memory = GuestMemory.over(bytes.subarray(0x10), gpa(0x8000));
    memory.writeU16(gpa(0x8002), 0xabcd);
    expect([...bytes.subarray(0x12, 0x14)]).toEqual([0xcd, 0xab]);
    expect(() => memory.readU8(gpa(0x7fff))).toThrow(GuestFault);
  });
});
