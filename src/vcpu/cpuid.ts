/**
 * What CPUID tells a guest: the leaves this host's KVM supports, with this vCPU's place among its siblings filled
 * in (SDM vol. 2 "CPUID", AMD APM vol. 3 appendix E). All vCPUs are cores of one package, one thread each.
 * Runs on: main.
 */
import { flags } from '../kvm/abi.js';
import type { CpuidEntry } from '../kvm/kvm.js';

export interface CpuPlace {
  /** Initial APIC id, 0 … cpus − 1. */
  readonly apicId: number;
  readonly cpus: number;
}

const HYPERVISOR = 2 ** 31; // leaf 1 ecx
const TSC_DEADLINE = 1 << 24; // leaf 1 ecx
const ARAT = 1 << 2; // leaf 6 eax: the LAPIC's timer runs in every sleep state
const HTT = 1 << 28; // leaf 1 edx: the "logical processors" field is valid
/** Extended topology, and its second version. */
const TOPOLOGY_LEAVES: readonly number[] = [0xb, 0x1f];
const LEVEL = { SMT: 1, CORE: 2 } as const; // leaf 0xb ecx[15:8]

const VMX = 1 << 5; // leaf 1 ecx
const SVM = 1 << 2; // leaf 0x8000_0001 ecx
/** What SVM can do. */
export const SVM_LEAF = 0x8000_000a;

/**
 * What a guest can be given: there is a hypervisor, and KVM does not say by itself whether there is a TSC-deadline timer.
 * @param tscDeadline whether the in-kernel LAPIC has it
 */
export const offeredCpuid = (supported: readonly CpuidEntry[], tscDeadline: boolean): CpuidEntry[] =>
  supported.map((entry) => {
    if (entry.function !== 1) return entry;
    const ecx = tscDeadline ? entry.ecx | TSC_DEADLINE : entry.ecx & ~TSC_DEADLINE;
    return { ...entry, ecx: (ecx | HYPERVISOR) >>> 0 };
  });

/** Whether a guest with these leaves has a timer that needs no other to be calibrated or replaced by: the LAPIC's, by the TSC. */
export const hasDeadlineTimer = (leaves: readonly CpuidEntry[]): boolean =>
  leaves.some(({ function: leaf, ecx }) => leaf === 1 && (ecx & TSC_DEADLINE) !== 0) &&
  leaves.some(({ function: leaf, eax }) => leaf === 6 && (eax & ARAT) !== 0);

/** Virtual machines in the guest are for those who ask for them: without VMX and SVM its kernel can start none. */
export const withoutNesting = (offered: readonly CpuidEntry[]): CpuidEntry[] =>
  offered.map((entry) => {
    if (entry.function === 1) return { ...entry, ecx: (entry.ecx & ~VMX) >>> 0 };
    if (entry.function === 0x8000_0001) return { ...entry, ecx: (entry.ecx & ~SVM) >>> 0 };
    return entry.function === SVM_LEAF ? { ...entry, eax: 0, ebx: 0, ecx: 0, edx: 0 } : entry;
  });

/** @returns new entries where something changes; `leaves` stays as it is */
export function guestCpuid(leaves: readonly CpuidEntry[], place: CpuPlace): CpuidEntry[] {
  return withTopology(leaves).map((entry) => {
    const changed = changes(entry, place);
    return changed ? { ...entry, ...changed } : entry;
  });
}

/**
 * Since Linux 6.2 KVM gives the topology leaves with one empty subleaf: a guest would take every vCPU for a package of
 * its own. Three subleaves say all there is: threads, cores, the end.
 */
function withTopology(supported: readonly CpuidEntry[]): CpuidEntry[] {
  return supported.flatMap((entry) => {
    if (!TOPOLOGY_LEAVES.includes(entry.function)) return [entry];
    if (entry.index !== 0) return [];
    return [0, 1, 2].map((index) => ({ ...entry, index, flags: flags.KVM_CPUID_FLAG_SIGNIFCANT_INDEX }));
  });
}

function changes(entry: CpuidEntry, { apicId, cpus }: CpuPlace): Partial<CpuidEntry> | undefined {
  const { eax, ebx, ecx, edx } = entry;
  /** Bits of an APIC id that number the cores. */
  const coreBits = Math.ceil(Math.log2(cpus));
  switch (entry.function) {
    case 0x1:
      return {
        ebx: ((ebx & 0xffff) | (cpus << 16) | (apicId << 24)) >>> 0,
        edx: (cpus > 1 ? edx | HTT : edx & ~HTT) >>> 0,
      };
    case 0x4: // Intel: cores per package − 1 in eax[31:26]; every cache is this core's own, eax[25:14]
      return (eax & 0x1f) === 0 ? undefined : { eax: ((eax & 0x3fff) | ((2 ** coreBits - 1) << 26)) >>> 0 };
    case 0xb:
    case 0x1f:
      if (entry.index === 0) return { eax: 0, ebx: 1, ecx: LEVEL.SMT << 8, edx: apicId };
      if (entry.index === 1) return { eax: coreBits, ebx: cpus, ecx: (LEVEL.CORE << 8) | 1, edx: apicId };
      return { eax: 0, ebx: 0, ecx: entry.index, edx: apicId };
    case 0x8000_001d: // AMD: every cache is this core's own, eax[25:14]
      return { eax: (eax & 0x3fff) >>> 0 };
    case 0x8000_0008: // AMD: threads − 1 in ecx[7:0], bits of the APIC id in ecx[15:12]
      return { ecx: ((ecx & 0xffff_0f00) | (coreBits << 12) | (cpus - 1)) >>> 0 };
    case 0x8000_001e: // AMD: extended APIC id; core id, one thread a core; one node
      return { eax: apicId, ebx: apicId & 0xff, ecx: 0 };
    default:
      return undefined;
  }
}
