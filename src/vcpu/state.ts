/**
 * Everything a vCPU holds before its first instruction beyond the boot protocol's registers: CPUID, MSRs, FPU and
 * local APIC, in the order KVM needs them (CPUID first: since Linux 6.13 MSRs are checked against it).
 * Runs on: main, before the thread starts.
 */
import { ConfigError } from '../base/errors.js';
import type { CpuidEntry, KvmRegsInput, KvmSregsInput, KvmVcpu, Msr } from '../kvm/kvm.js';

/** SDM vol. 4 table 2-2; AMD APM vol. 2 appendix A. */
export const MSR = {
  TSC: 0x10,
  SYSENTER_CS: 0x174,
  SYSENTER_ESP: 0x175,
  SYSENTER_EIP: 0x176,
  MISC_ENABLE: 0x1a0,
  MTRR_DEF_TYPE: 0x2ff,
  STAR: 0xc000_0081,
  LSTAR: 0xc000_0082,
  CSTAR: 0xc000_0083,
  SYSCALL_MASK: 0xc000_0084,
  KERNEL_GS_BASE: 0xc000_0102,
  HWCR: 0xc001_0015,
} as const;

const FAST_STRING = 1n; // MISC_ENABLE bit 0
/** MTRRs on, everything write-back: guests complain about firmware that leaves them off. */
const MTRR_ENABLED_WRITE_BACK = 0x806n;

/**
 * HWCR bit 24, TscFreqSel: the TSC counts at the P0 frequency. AMD's firmware sets it where CPUID promises an invariant TSC, and
 * Linux complains of firmware that does not.
 */
const TSC_AT_P0 = 1n << 24n;
const VENDOR_AMD = 0x6874_7541; // "Auth", CPUID 0 EBX
const INVARIANT_TSC = 1 << 8; // CPUID 0x8000_0007 EDX

/** What every vCPU's MSRs are before its first instruction. */
export const BOOT_MSRS: readonly Msr[] = [
  { index: MSR.SYSENTER_CS, data: 0n },
  { index: MSR.SYSENTER_ESP, data: 0n },
  { index: MSR.SYSENTER_EIP, data: 0n },
  { index: MSR.STAR, data: 0n },
  { index: MSR.LSTAR, data: 0n },
  { index: MSR.CSTAR, data: 0n },
  { index: MSR.SYSCALL_MASK, data: 0n },
  { index: MSR.KERNEL_GS_BASE, data: 0n },
  { index: MSR.TSC, data: 0n },
  { index: MSR.MISC_ENABLE, data: FAST_STRING },
  { index: MSR.MTRR_DEF_TYPE, data: MTRR_ENABLED_WRITE_BACK },
];

/** Local vector table entries in the LAPIC's register page (SDM vol. 3 §11.5.1), as MP 1.4 §3.6.2.2 wants them. */
const LVT_LINT0 = 0x350;
const LVT_LINT1 = 0x360;
const DELIVERY_EXTINT = 7 << 8;
const DELIVERY_NMI = 4 << 8;

/** A boot protocol's registers for the first vCPU. */
export interface EntryState {
  readonly regs: KvmRegsInput;
  readonly sregs: KvmSregsInput;
}

export interface VcpuSetup {
  readonly cpuid: readonly CpuidEntry[];
  /** Beyond `BOOT_MSRS`. */
  readonly msrs?: readonly MsrChange[] | undefined;
  /** Whether the LAPIC is in the kernel. */
  readonly lapic: boolean;
  /** Absent for the other vCPUs: they wait for INIT and SIPI. */
  readonly entry: EntryState | undefined;
}

/** An MSR as a configuration changes it: the bits of `filter` become those of `value`. */
export interface MsrChange {
  readonly index: number;
  readonly bitmap: { readonly filter: bigint; readonly value: bigint };
  /** Who asked, as a user writes it. */
  readonly path: string;
}

/** @throws ConfigError for an MSR of `msrs` that KVM does not take */
export function prepareVcpu(vcpu: KvmVcpu, { cpuid, msrs = [], lapic, entry }: VcpuSetup): void {
  vcpu.setCpuid(cpuid);
  vcpu.setMsrs(BOOT_MSRS);
  // KVM before 6.7 takes no such bit; its guests have a warning more.
  if (hasAmdsInvariantTsc(cpuid)) vcpu.trySetMsr({ index: MSR.HWCR, data: TSC_AT_P0 });
  for (const msr of msrs) changeMsr(vcpu, msr);
  vcpu.resetFpu();
  if (lapic) {
    const regs = vcpu.getLapic();
    const view = new DataView(regs.buffer);
    view.setUint32(LVT_LINT0, DELIVERY_EXTINT, true);
    view.setUint32(LVT_LINT1, DELIVERY_NMI, true);
    vcpu.setLapic(regs);
  }
  if (!entry) return;
  // What the protocol does not name keeps its reset value: APIC base, CR8, pending interrupts.
  vcpu.setSregs({ ...vcpu.getSregs(), ...entry.sregs });
  vcpu.setRegs(entry.regs);
}

function hasAmdsInvariantTsc(cpuid: readonly CpuidEntry[]): boolean {
  const leaf = (wanted: number): CpuidEntry | undefined => cpuid.find((entry) => entry.function === wanted);
  return leaf(0)?.ebx === VENDOR_AMD && ((leaf(0x8000_0007)?.edx ?? 0) & INVARIANT_TSC) !== 0;
}

/** KVM takes some writes and drops bits of them: what stays is what counts. */
function changeMsr(vcpu: KvmVcpu, { index, bitmap: { filter, value }, path }: MsrChange): void {
  const refuse = (message: string): never => {
    throw new ConfigError([{ path, message: `MSR 0x${index.toString(16)}: ${message}` }]);
  };
  const before = vcpu.getMsr(index) ?? refuse("this host's KVM has it not for this guest's CPU");
  const data = (before & ~filter) | value;
  if (!vcpu.trySetMsr({ index, data })) refuse(`this host's KVM does not take 0x${data.toString(16)}`);
  const after = vcpu.getMsr(index) ?? 0n;
  // The time stamp counter has gone on.
  if (index !== MSR.TSC && (after & filter) !== value) {
    refuse(`this host's KVM made 0x${after.toString(16)} of 0x${data.toString(16)}`);
  }
}
