import { describe, expect, it } from 'vitest';
import { gpa } from '../../../src/base/units.js';
import { flatLong, flatReal, linux64, pvh } from '../../../src/boot/entry-state.js';

const LONG = { cr0: 0x8000_0033n, cr3: 0x9000n, cr4: 0x20n, efer: 0x500n };

describe('the first instruction', () => {
  it('of Linux by the 64-bit protocol: long mode, flat, RSI at the zero page, interrupts off', () => {
    const { regs, sregs } = linux64(gpa(0x100_0200));
    expect(regs).toMatchObject({ rip: 0x100_0200n, rsi: 0x7000n, rsp: 0x8ff0n, rflags: 2n });
    expect(sregs).toMatchObject(LONG);
    expect(sregs.cs).toMatchObject({ selector: 0x10, l: 1, db: 0, base: 0n });
    expect(sregs.ss).toMatchObject({ selector: 0x18, base: 0n });
    expect(sregs.gdt).toEqual({ base: 0x500n, limit: 31 });
  });

  it('of Linux by PVH: protected mode without paging, EBX at the start info', () => {
    const { regs, sregs } = pvh(gpa(0x100_0040));
    expect(regs).toMatchObject({ rip: 0x100_0040n, rbx: 0x6000n, rflags: 2n });
    expect(sregs).toMatchObject({ cr0: 0x11n, cr4: 0n, efer: 0n });
    expect(sregs.cs).toMatchObject({ l: 0, db: 1, limit: 0xffff_ffff, base: 0n });
    expect(sregs.tr).toMatchObject({ type: 0xb, s: 0, limit: 0x67 });
  });

  it('of a flat binary in long mode', () => {
    const { regs, sregs } = flatLong(gpa(0x10_0000));
    expect(regs).toMatchObject({ rip: 0x10_0000n, rflags: 2n });
    expect(sregs).toMatchObject(LONG);
  });

  it.each([
    [0, 0, 0],
    [0x1000, 0, 0x1000],
    [0xffff, 0, 0xffff],
    [0x1_0000, 0x1000, 0],
    [0x1_2345, 0x1234, 5],
    [0xf_ffff, 0xffff, 0xf],
  ])('of a flat binary in real mode at 0x%x: CS %i, IP %i', (entry, selector, ip) => {
    const { regs, sregs } = flatReal(gpa(entry));
    expect(regs.rip).toBe(BigInt(ip));
    expect(sregs.cs).toMatchObject({ selector, base: BigInt(selector * 16), limit: 0xffff });
    expect(sregs.ds).toMatchObject({ selector: 0, base: 0n });
    expect(sregs.cr0).toBeUndefined();
  });
});
