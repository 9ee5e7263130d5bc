/**
 * Names of CPU features, as /proc/cpuinfo has them, and where CPUID tells of each (SDM vol. 2 "CPUID", AMD APM vol. 3
 * appendix E; names from Linux arch/x86/include/asm/cpufeatures.h).
 * Runs on: main.
 */
import type { CpuidEntry } from '../kvm/kvm.js';

export type CpuidRegister = 'eax' | 'ebx' | 'ecx' | 'edx';

/** A register of CPUID's answer. */
export interface CpuidPlace {
  readonly leaf: number;
  readonly subleaf: number;
  readonly register: CpuidRegister;
}
export interface FeatureBit extends CpuidPlace {
  readonly bit: number; // 0 … 31
}

/**
 * Leaf, subleaf and register, every bit of which is a feature: names from bit 0 on, `-` for one without. Those of XCR0's parts
 * (leaf 0xd) and of KVM itself (0x40000001) have none.
 */
const REGISTERS: Readonly<Record<string, string>> = {
  '0x1 0 edx': `fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts acpi mmx fxsr
    sse sse2 ss ht tm ia64 pbe`,
  '0x1 0 ecx': `pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca sse4_1
    sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand hypervisor`,
  '0x6 0 eax': 'dtherm ida arat',
  '0x7 0 ebx': `fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f avx512dq
    rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw avx512vl`,
  '0x7 0 ecx': `- avx512vbmi umip pku - waitpkg avx512_vbmi2 user_shstk gfni vaes vpclmulqdq avx512_vnni avx512_bitalg
    tme avx512_vpopcntdq - la57 - - - - - rdpid - bus_lock_detect cldemote - movdiri movdir64b enqcmd sgx_lc`,
  '0x7 0 edx': `- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect - md_clear - - - serialize - tsxldtrk -
    pconfig arch_lbr ibt - amx_bf16 avx512_fp16 amx_tile amx_int8 ibrs stibp flush_l1d arch_capabilities
    core_capabilities ssbd`,
  '0x7 1 eax': `sha512 sm3 sm4 - avx_vnni avx512_bf16 lass cmpccxadd - - - - - - - - - fred lkgs wrmsrns -
    amx_fp16 - avx_ifma - - lam`,
  '0x7 1 edx': '- - - - avx_vnni_int8 avx_ne_convert - - - - avx_vnni_int16 - - - prefetchi',
  '0x7 2 edx': '',
  '0xd 0 eax': '',
  '0xd 0 edx': '',
  '0xd 1 eax': 'xsaveopt xsavec xgetbv1 xsaves',
  '0x40000001 0 eax': '',
  '0x80000001 0 edx': `- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm 3dnowext
    3dnow`,
  '0x80000001 0 ecx': `lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit
    wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc mwaitx`,
  '0x80000007 0 ebx': 'overflow_recov succor - smca',
  '0x80000007 0 edx': '- - - - - - - - nonstop_tsc',
  '0x80000008 0 ebx': `clzero irperf xsaveerptr - rdpru - - - - wbnoinvd - - ibpb - ibrs stibp - - - - - - - - ssbd
    virt_ssbd - cppc`,
  '0x8000000a 0 edx': `npt lbrv svm_lock nrip_save tsc_scale vmcb_clean flushbyasid decodeassists - - pausefilter -
    pfthreshold avic - v_vmsave_vmload vgif - x2avic - v_spec_ctrl`,
  '0x80000021 0 eax': '- - lfence_rdtsc - - - - - autoibrs',
};

/** Features that CPUID tells of in more than one place, or by a second name. */
const MORE: readonly (readonly [name: string, bit: FeatureBit])[] = [
  ['ibpb', { leaf: 7, subleaf: 0, register: 'edx', bit: 26 }],
  ['constant_tsc', { leaf: 0x8000_0007, subleaf: 0, register: 'edx', bit: 8 }],
];

/** Name → its bits; most have one. Vendors may use different ones. */
export const FEATURES: ReadonlyMap<string, readonly FeatureBit[]> = collect();

function collect(): Map<string, FeatureBit[]> {
  const features = new Map<string, FeatureBit[]>();
  const add = (name: string, bit: FeatureBit): void => {
    features.set(name, [...(features.get(name) ?? []), bit]);
  };
  for (const [place, names] of Object.entries(REGISTERS)) {
    const [leaf, subleaf, register] = place.split(' ') as [string, string, CpuidRegister];
    for (const [bit, name] of names.split(/\s+/).entries()) {
      if (name !== '-' && name !== '')
        add(name, { leaf: Number(leaf), subleaf: Number(subleaf), register, bit });
    }
  }
  for (const [name, bit] of MORE) add(name, bit);
  return features;
}

const samePlace = (a: CpuidPlace, b: CpuidPlace): boolean =>
  a.leaf === b.leaf && a.subleaf === b.subleaf && a.register === b.register;

/** Whether the bits of this register are features, which a CPU has or lacks, rather than numbers. */
export const holdsFeatures = ({ leaf, subleaf, register }: CpuidPlace): boolean =>
  `0x${leaf.toString(16)} ${subleaf} ${register}` in REGISTERS;

/** The name of a bit, if it has one. */
export function featureAt(place: CpuidPlace, bit: number): string | undefined {
  for (const [name, bits] of FEATURES) {
    if (bits.some((one) => one.bit === bit && samePlace(one, place))) return name;
  }
  return undefined;
}

export const findLeaf = (
  entries: readonly CpuidEntry[],
  { leaf, subleaf }: Pick<CpuidPlace, 'leaf' | 'subleaf'>,
): CpuidEntry | undefined => entries.find((entry) => entry.function === leaf && entry.index === subleaf);

/** Whether one of the feature's bits is set. */
export const hasFeature = (entries: readonly CpuidEntry[], bits: readonly FeatureBit[]): boolean =>
  bits.some((place) => (((findLeaf(entries, place)?.[place.register] ?? 0) >>> place.bit) & 1) === 1);

/** Names of the features that these leaves have, in the order of the leaves. */
export const featureNames = (entries: readonly CpuidEntry[]): string[] =>
  [...FEATURES].filter(([, bits]) => hasFeature(entries, bits)).map(([name]) => name);
