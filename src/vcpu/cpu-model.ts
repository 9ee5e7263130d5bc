/**
 * The CPU that a configuration asks for, on top of what this host's KVM offers: leaves as a template changes them, then
 * features that are hidden or demanded by name. What the host does not have is refused, with the path of who asked.
 * Runs on: main.
 */
import { ConfigError } from '../base/errors.js';
import type { CpuidEntry } from '../kvm/kvm.js';
import {
  type CpuidPlace,
  type CpuidRegister,
  FEATURES,
  type FeatureBit,
  featureAt,
  findLeaf,
  hasFeature,
  holdsFeatures,
} from './cpu-features.js';
import { SVM_LEAF, withoutNesting } from './cpuid.js';

/** A register's new value: bits of `filter` are replaced by those of `value`. */
export interface BitChange {
  readonly filter: bigint;
  readonly value: bigint;
}

export interface LeafChange {
  readonly leaf: number;
  readonly subleaf: number;
  /** KVM_CPUID_FLAG_…, as KVM is to have them. */
  readonly flags: number;
  readonly modifiers: readonly { readonly register: CpuidRegister; readonly bitmap: BitChange }[];
}

/** What a configuration wants of CPUID. */
export interface CpuWishes {
  /** Each by its path, as `cpu.template.cpuid_modifiers.0`. */
  readonly leaves: readonly (LeafChange & { readonly path: string })[];
  /** Features to be hidden (false) or there (true), by name. */
  readonly features: readonly { readonly name: string; readonly on: boolean; readonly path: string }[];
}

/** Bits that are not the host's to give: the monitor sets HTT, and OSXSAVE and OSPKE follow the guest's CR4. */
const NOT_THE_HOSTS: readonly FeatureBit[] = [
  { leaf: 1, subleaf: 0, register: 'ecx', bit: 27 },
  { leaf: 1, subleaf: 0, register: 'edx', bit: 28 },
  { leaf: 7, subleaf: 0, register: 'ecx', bit: 4 },
];

/** On AMD these bits of 0x8000_0001 edx repeat leaf 1's. */
const REPEATED = 0x0183_f3ff;

/**
 * @param offered what this host's KVM offers
 * @throws ConfigError with everything that this host cannot give
 */
export function wishedCpuid(offered: readonly CpuidEntry[], wishes: CpuWishes): CpuidEntry[] {
  const issues: { path: string; message: string }[] = [];
  const refuse = (path: string, message: string): void => void issues.push({ path, message });
  const svm = findLeaf(offered, { leaf: SVM_LEAF, subleaf: 0 });
  // Its leaf is for those who get the feature.
  let leaves = withoutNesting(offered).map((entry) => (entry.function === SVM_LEAF && svm ? svm : entry));
  for (const change of wishes.leaves) leaves = changedLeaf(leaves, offered, change, refuse);
  for (const { name, on, path } of wishes.features) {
    const bits = FEATURES.get(name)!;
    const there = bits.filter((bit) => hasFeature(offered, [bit]));
    if (on && there.length === 0) refuse(path, `this host's KVM has no ${name}`);
    else leaves = withBits(leaves, there, on);
  }
  if (issues.length > 0) {
    throw new ConfigError(issues, { hint: 'vmm inspect cpu shows what this host can give' });
  }
  return settle(leaves, offered);
}

const isOurs = ({ leaf, subleaf, register, bit }: FeatureBit): boolean =>
  NOT_THE_HOSTS.some(
    (one) => one.leaf === leaf && one.subleaf === subleaf && one.register === register && one.bit === bit,
  );

function changedLeaf(
  leaves: readonly CpuidEntry[],
  offered: readonly CpuidEntry[],
  { leaf, subleaf, flags, modifiers, path }: CpuWishes['leaves'][number],
  refuse: (path: string, message: string) => void,
): CpuidEntry[] {
  const host = findLeaf(offered, { leaf, subleaf });
  if (!host) {
    refuse(path, `this host's KVM has no CPUID leaf ${hex(leaf)}, subleaf ${hex(subleaf)}`);
    return [...leaves];
  }
  return leaves.map((entry) => {
    if (entry.function !== leaf || entry.index !== subleaf) return entry;
    const next = { ...entry, flags };
    for (const [index, { register, bitmap }] of modifiers.entries()) {
      const place = { leaf, subleaf, register };
      const lacking = holdsFeatures(place) ? bitsLacking(place, bitmap.value, host[register]) : [];
      if (lacking.length > 0) {
        refuse(`${path}.modifiers.${index}.bitmap`, `this host's KVM lacks ${lacking.join(', ')}`);
      }
      next[register] = Number((BigInt(next[register]) & ~bitmap.filter) | bitmap.value);
    }
    return next;
  });
}

/** Bits that `wanted` has and `host` has not, in words. */
function bitsLacking(place: CpuidPlace, wanted: bigint, host: number): string[] {
  return Array.from({ length: 32 }, (_, bit) => bit)
    .filter((bit) => ((Number(wanted) >>> bit) & 1) === 1 && ((host >>> bit) & 1) === 0)
    .filter((bit) => !isOurs({ ...place, bit }))
    .map((bit) => {
      const name = featureAt(place, bit);
      return name === undefined ? `bit ${bit}` : `bit ${bit} (${name})`;
    });
}

function withBits(leaves: readonly CpuidEntry[], bits: readonly FeatureBit[], on: boolean): CpuidEntry[] {
  return leaves.map((entry) => {
    const here = bits.filter(({ leaf, subleaf }) => entry.function === leaf && entry.index === subleaf);
    if (here.length === 0) return entry;
    const next = { ...entry };
    for (const { register, bit } of here) {
      next[register] = (on ? next[register] | (1 << bit) : next[register] & ~(1 << bit)) >>> 0;
    }
    return next;
  });
}

/** What follows from the rest: SVM's own leaf, and AMD's copies of leaf 1. */
function settle(leaves: readonly CpuidEntry[], offered: readonly CpuidEntry[]): CpuidEntry[] {
  const svm = hasFeature(leaves, FEATURES.get('svm')!);
  const standard = findLeaf(leaves, { leaf: 1, subleaf: 0 });
  const before = findLeaf(offered, { leaf: 1, subleaf: 0 });
  return leaves.map((entry) => {
    if (entry.function === SVM_LEAF && !svm) return { ...entry, eax: 0, ebx: 0, ecx: 0, edx: 0 };
    if (entry.function !== 0x8000_0001 || !standard || !before) return entry;
    const hidden = before.edx & ~standard.edx & REPEATED;
    return { ...entry, edx: (entry.edx & ~hidden) >>> 0 };
  });
}

const hex = (value: number): string => `0x${value.toString(16)}`;
