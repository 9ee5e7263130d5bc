import { describe, expect, it } from 'vitest';
import { gpa } from '../../../src/base/units.js';
import {
  CODE32,
  CODE64,
  DATA,
  encodeDescriptor,
  GDT_LIMIT,
  TSS,
  writeDescriptorTables,
} from '../../../src/boot/gdt.js';
import { GDT } from '../../../src/boot/layout.js';
import { GuestMemory } from '../../../src/memory/guest-memory.js';

describe('a segment descriptor (SDM vol. 3 §3.4.5)', () => {
  it('has the bits that the boot protocols ask for', () => {
    expect(encodeDescriptor(CODE64)).toBe(0x00af_9b00_0000_ffffn);
    expect(encodeDescriptor(CODE32)).toBe(0x00cf_9b00_0000_ffffn);
    expect(encodeDescriptor(DATA)).toBe(0x00cf_9300_0000_ffffn);
  });

  it('scatters base and limit as the hardware wants them', () => {
    const segment = { ...TSS, base: 0xaabb_ccddn, limit: 0xe_1234, g: 0 };
    expect(encodeDescriptor(segment)).toBe(0xaa0e_8bbb_ccdd_1234n);
    expect((encodeDescriptor({ ...DATA, dpl: 3 }) >> 40n) & 0xffn).toBe(0xf3n);
    expect((encodeDescriptor({ ...DATA, present: 0 }) >> 47n) & 1n).toBe(0n);
  });
});

describe('the descriptor table', () => {
  it('has code and data where the selectors point, and ends there', () => {
    const memory = GuestMemory.over(new Uint8Array(0x1000));
    writeDescriptorTables(memory, CODE64);
    expect(memory.readU64(gpa(GDT))).toBe(0n);
    expect(memory.readU64(gpa(GDT + CODE64.selector))).toBe(encodeDescriptor(CODE64));
    expect(memory.readU64(gpa(GDT + DATA.selector))).toBe(encodeDescriptor(DATA));
    expect(GDT_LIMIT).toBe(DATA.selector + 7);
  });
});
