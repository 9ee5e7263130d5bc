import { describe, expect, it } from 'vitest';
import { GiB, gpa } from '../../../src/base/units.js';
import { e820Map } from '../../../src/boot/e820.js';
import { CMDLINE, PVH_START_INFO, ramRanges } from '../../../src/boot/layout.js';
import { writeStartInfo } from '../../../src/boot/pvh.js';
import { GuestMemory } from '../../../src/memory/guest-memory.js';

const e820 = e820Map(ramRanges(5 * GiB));

function written(initrd?: { base: number; size: number }) {
  const memory = GuestMemory.over(new Uint8Array(0x1_0000));
  writeStartInfo(memory, { e820, initrd: initrd && { base: gpa(initrd.base), size: initrd.size } });
  const u32 = (offset: number) => memory.readU32(gpa(PVH_START_INFO + offset));
  const pointer = (offset: number) => Number(memory.readU64(gpa(PVH_START_INFO + offset)));
  return { memory, u32, pointer };
}

describe('the start info', () => {
  it('has its magic, a version with a memory map, and the command line', () => {
    const { u32, pointer } = written();
    expect(u32(0)).toBe(0x336e_c578);
    expect(u32(4)).toBe(1);
    expect(u32(8)).toBe(0);
    expect(pointer(24)).toBe(CMDLINE);
  });

  it('points to the memory map', () => {
    const { memory, u32, pointer } = written();
    expect(u32(48)).toBe(e820.length);
    for (const [index, { base, size, type }] of e820.entries()) {
      const at = pointer(40) + 24 * index;
      expect(memory.readU64(gpa(at))).toBe(BigInt(base));
      expect(memory.readU64(gpa(at + 8))).toBe(BigInt(size));
      expect(memory.readU32(gpa(at + 16))).toBe(type);
    }
  });

  it('has the initrd as its one module, and none without', () => {
    const { memory, u32, pointer } = written({ base: 0x700_0000, size: 0x1234 });
    expect(u32(12)).toBe(1);
    expect(memory.readU64(gpa(pointer(16)))).toBe(0x700_0000n);
    expect(memory.readU64(gpa(pointer(16) + 8))).toBe(0x1234n);
    expect(written().u32(12)).toBe(0);
    expect(written().pointer(16)).toBe(0);
  });
});
