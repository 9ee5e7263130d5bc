/** CPUID leaves of hosts that do not exist. */
import type { CpuidEntry } from '../../src/kvm/kvm.js';

export const leaf = (fn: number, index: number, values: Partial<CpuidEntry> = {}): CpuidEntry => ({
  function: fn,
  index,
  flags: 0,
  eax: 0,
  ebx: 0,
  ecx: 0,
  edx: 0,
  padding: [0, 0, 0],
  ...values,
});

/** A bit of a register. */
export const bit = (number: number): number => (1 << number) >>> 0;
