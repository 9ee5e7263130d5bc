/** The first vCPU's registers at the first instruction, per boot protocol; named as in struct kvm_regs and kvm_sregs. */
import type { Gpa } from '../base/units.js';
import { CODE32, CODE64, DATA, GDT_LIMIT, IDT_LIMIT, type Segment, TSS } from './gdt.js';
import { BOOT_STACK, GDT, IDT, PML4, PVH_START_INFO, ZERO_PAGE } from './layout.js';

export interface EntryState {
  readonly regs: {
    readonly rip: bigint;
    readonly rsp?: bigint;
    readonly rbp?: bigint;
    readonly rbx?: bigint;
    readonly rsi?: bigint;
    readonly rflags: bigint;
  };
  readonly sregs: Partial<Record<'cs' | 'ds' | 'es' | 'fs' | 'gs' | 'ss' | 'tr', Segment>> & {
    readonly gdt?: { readonly base: bigint; readonly limit: number };
    readonly idt?: { readonly base: bigint; readonly limit: number };
    readonly cr0?: bigint;
    readonly cr3?: bigint;
    readonly cr4?: bigint;
    readonly efer?: bigint;
  };
}

/** Bit 1 of RFLAGS is always set (SDM vol. 1 §3.4.3); interrupts are off. */
const RFLAGS = 0x2n;
const CR0 = { PE: 1n << 0n, MP: 1n << 1n, ET: 1n << 4n, NE: 1n << 5n, PG: 1n << 31n } as const;
const CR4_PAE = 1n << 5n;
const EFER = { LME: 1n << 8n, LMA: 1n << 10n } as const;

const flat = (code: Segment) => ({ cs: code, ds: DATA, es: DATA, fs: DATA, gs: DATA, ss: DATA, tr: TSS });
const tables = {
  gdt: { base: BigInt(GDT), limit: GDT_LIMIT },
  idt: { base: BigInt(IDT), limit: IDT_LIMIT },
};
const longMode = {
  ...flat(CODE64),
  ...tables,
  cr0: CR0.PE | CR0.MP | CR0.ET | CR0.NE | CR0.PG,
  cr3: BigInt(PML4),
  cr4: CR4_PAE,
  efer: EFER.LME | EFER.LMA,
};

/** "64-bit Boot Protocol" of boot.rst: paging on, RSI → zero page, interrupts off. */
export const linux64 = (entry: Gpa): EntryState => ({
  regs: {
    rip: BigInt(entry),
    rsp: BigInt(BOOT_STACK),
    rbp: BigInt(BOOT_STACK),
    rsi: BigInt(ZERO_PAGE),
    rflags: RFLAGS,
  },
  sregs: longMode,
});

/** PVH: 32-bit protected mode without paging, EBX → hvm_start_info. */
export const pvh = (entry: Gpa): EntryState => ({
  regs: { rip: BigInt(entry), rbx: BigInt(PVH_START_INFO), rflags: RFLAGS },
  sregs: { ...flat(CODE32), ...tables, cr0: CR0.PE | CR0.ET, cr4: 0n, efer: 0n },
});

/** A flat binary in long mode: as for Linux, without a zero page. */
export const flatLong = (entry: Gpa): EntryState => ({
  regs: { rip: BigInt(entry), rsp: BigInt(BOOT_STACK), rflags: RFLAGS },
  sregs: longMode,
});

/** A real-mode segment: base is selector × 16, 64 KiB, as after a far jump (SDM vol. 3 §20.1.1). */
const real = (selector: number, type: number): Segment => ({
  base: BigInt(selector * 16),
  limit: 0xffff,
  selector,
  type,
  s: 1,
  dpl: 0,
  present: 1,
  l: 0,
  db: 0,
  g: 0,
});

/**
 * A flat binary in real mode. CS is 0 where IP alone reaches the entry, else the paragraph of the entry with IP = 0
 * to 15; the other segments are 0. The rest is the CPU's reset state.
 * @param entry below 1 MiB
 */
export function flatReal(entry: Gpa): EntryState {
  const selector = entry < 0x1_0000 ? 0 : entry >>> 4;
  const data = real(0, 0x3);
  return {
    regs: { rip: BigInt(entry - selector * 16), rsp: 0x7000n, rflags: RFLAGS },
    sregs: { cs: real(selector, 0xb), ds: data, es: data, fs: data, gs: data, ss: data },
  };
}
