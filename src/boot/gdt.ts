/**
 * Segments for entry: a flat GDT in guest memory, and the same descriptors as the CPU caches them (SDM vol. 3 §3.4.5).
 * Selectors are those of the 64-bit boot protocol: __BOOT_CS 0x10, __BOOT_DS 0x18.
 */
import { gpa } from '../base/units.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import { GDT, IDT } from './layout.js';

/** struct kvm_segment, as far as it matters. */
export interface Segment {
  readonly base: bigint;
  readonly limit: number; // bytes − 1
  readonly selector: number;
  readonly type: number; // 0xb code, read, accessed; 3 data, write, accessed; 0xb busy TSS as a system segment
  readonly s: number; // 1: code or data
  readonly dpl: number;
  readonly present: number;
  readonly l: number; // 64-bit code
  readonly db: number; // 32-bit default
  readonly g: number; // limit counts pages
}

const FLAT = { base: 0n, limit: 0xffff_ffff, s: 1, dpl: 0, present: 1, g: 1 } as const;

export const CODE64: Segment = { ...FLAT, selector: 0x10, type: 0xb, l: 1, db: 0 };
export const CODE32: Segment = { ...FLAT, selector: 0x10, type: 0xb, l: 0, db: 1 };
export const DATA: Segment = { ...FLAT, selector: 0x18, type: 0x3, l: 0, db: 1 };
/** VT-x and SVM want a present, busy task register in protected mode; nothing uses it. */
export const TSS: Segment = {
  base: 0n,
  limit: 0x67,
  selector: 0x20,
  type: 0xb,
  s: 0,
  dpl: 0,
  present: 1,
  l: 0,
  db: 0,
  g: 0,
};

/** Table limits, bytes − 1. The TSS descriptor is not in the table: no instruction loads it again. */
export const GDT_LIMIT = 4 * 8 - 1;
export const IDT_LIMIT = 8 - 1;

export function encodeDescriptor({ base, limit, type, s, dpl, present, l, db, g }: Segment): bigint {
  const units = BigInt(g ? limit >>> 12 : limit);
  const access = BigInt(type | (s << 4) | (dpl << 5) | (present << 7));
  const high = BigInt((l << 1) | (db << 2) | (g << 3));
  return (
    (units & 0xffffn) |
    ((base & 0xff_ffffn) << 16n) |
    (access << 40n) |
    (((units >> 16n) & 0xfn) << 48n) |
    (high << 52n) |
    (((base >> 24n) & 0xffn) << 56n)
  );
}

/** Null, unused, code, data: entries 0 to 3. */
export function writeDescriptorTables(memory: GuestMemory, code: Segment): void {
  for (const [index, value] of [0n, 0n, encodeDescriptor(code), encodeDescriptor(DATA)].entries()) {
    memory.writeU64(gpa(GDT + 8 * index), value);
  }
  memory.writeU64(IDT, 0n);
}
