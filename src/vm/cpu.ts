/**
 * A configuration's `cpu` becomes a model of a CPU that the machine can build: names and the template are read and checked here,
 * what the host cannot give is refused when there is a KVM to ask. Loaded when a configuration has the option.
 * Runs on: main.
 */
import { readFileSync } from 'node:fs';
import { ConfigError, type ConfigIssue, VmmError } from '../base/errors.js';
import { nearest } from '../base/nearest.js';
import type { ResolvedCpu } from '../config/cpu.js';
import { type CpuTemplate, parseCpuTemplate } from '../config/cpu-template.js';
import type { ResolvedConfig } from '../config/schema.js';
import type { CpuidEntry, Kvm } from '../kvm/kvm.js';
import { FEATURES, featureAt } from '../vcpu/cpu-features.js';
import { type CpuWishes, wishedCpuid } from '../vcpu/cpu-model.js';
import { withoutNesting } from '../vcpu/cpuid.js';
import { detectHostKind, type HostKind } from './host-kind.js';
import type { CpuModel } from './machine.js';

const TEMPLATE = 'cpu.template';
const REGISTERS = ['eax', 'ebx', 'ecx', 'edx'] as const;

/** What a guest sees of KVM_SET_CPUID2 on software KVM; the rest of its CPUID is the host's own. */
const FOLLOWED_BY_SOFTWARE = ['cx16', 'x2apic', 'tsc_deadline_timer'];

/**
 * @throws ConfigError for unknown features and a template that is none; VmmError ERR_FILE for one that cannot be read. What this
 *   host's KVM cannot give is refused by the model's own methods
 */
export function loadCpuModel(
  { cpu, hostCheck }: Pick<ResolvedConfig, 'cpu' | 'hostCheck'>,
  host: HostKind = detectHostKind(),
): CpuModel {
  const { mask = [], set = {}, template } = cpu ?? {};
  const features = [
    ...mask.map((name, index) => ({ name, on: false, path: `cpu.mask.${index}` })),
    ...Object.entries(set).map(([name, on]) => ({ name, on, path: `cpu.set.${name}` })),
  ];
  checkNames(features);
  const parsed = template === undefined ? undefined : parseCpuTemplate(loadTemplate(template), TEMPLATE);
  const leaves = (parsed?.cpuid_modifiers ?? []).map((leaf, index) => ({
    ...leaf,
    path: `${TEMPLATE}.cpuid_modifiers.${index}`,
  }));
  return {
    adjust(offered) {
      const wished = wishedCpuid(offered, { leaves, features });
      if (host === 'software' && hostCheck === 'refuse') {
        refuseUnseen(features, withoutNesting(offered), wishedCpuid(offered, { leaves, features: [] }));
      }
      return wished;
    },
    msrs: (parsed?.msr_modifiers ?? []).map(({ addr, bitmap }, index) => ({
      index: addr,
      bitmap,
      path: `${TEMPLATE}.msr_modifiers.${index}`,
    })),
    sparedCapabilities: (parsed?.kvm_capabilities ?? []).flatMap(({ number, wanted }) =>
      wanted ? [] : [number],
    ),
    check: (kvm) => checkTemplate(kvm, parsed),
  };
}

function checkNames(features: CpuWishes['features']): void {
  const issues: ConfigIssue[] = features.flatMap(({ name, path }) => {
    if (FEATURES.has(name)) return [];
    const guess = nearest(name, [...FEATURES.keys()]);
    return [{ path, message: `"${name}" is no CPU feature${guess ? `; did you mean ${guess}?` : ''}` }];
  });
  if (issues.length === 0) return;
  const hint = 'names are those of /proc/cpuinfo; what is a matter of software alone, as nopl, is none';
  throw new ConfigError(issues, { hint });
}

function loadTemplate(template: NonNullable<ResolvedCpu['template']>): unknown {
  if (typeof template === 'object' && !(template instanceof URL)) return template;
  let text: string;
  try {
    text = readFileSync(template, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'is a directory' : `${code}`;
    throw new VmmError('ERR_FILE', `${TEMPLATE}: ${why}: ${template}`, { cause: error });
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    const message = `${template} is not JSON: ${(error as SyntaxError).message}`;
    throw new ConfigError([{ path: TEMPLATE, message }]);
  }
}

/** Capabilities and MSRs that the template needs. @throws ConfigError that names all that are missing */
function checkTemplate(kvm: Kvm, template: CpuTemplate | undefined): void {
  if (!template) return;
  const issues: ConfigIssue[] = [];
  for (const [index, { number, wanted }] of template.kvm_capabilities.entries()) {
    if (!wanted || kvm.capability(number) > 0) continue;
    const message = `this host's KVM lacks capability ${number}`;
    issues.push({ path: `${TEMPLATE}.kvm_capabilities.${index}`, message });
  }
  if (template.msr_modifiers.length > 0) {
    const known = kvm.msrIndices();
    for (const [index, { addr }] of template.msr_modifiers.entries()) {
      if (known.has(addr)) continue;
      const message = `this host's KVM has no MSR 0x${addr.toString(16)}`;
      issues.push({ path: `${TEMPLATE}.msr_modifiers.${index}.addr`, message });
    }
  }
  if (issues.length > 0) throw new ConfigError(issues);
}

/**
 * A guest on software KVM would not see most changes, whatever KVM says: it has even features that KVM does not list.
 * @param changed the leaves of `before` as a template has them
 */
function refuseUnseen(
  features: CpuWishes['features'],
  before: readonly CpuidEntry[],
  changed: readonly CpuidEntry[],
): void {
  const issues: ConfigIssue[] = features
    .filter(({ name, on }) => !on && !FOLLOWED_BY_SOFTWARE.includes(name))
    .map(({ name, path }) => ({
      path,
      message: `guests on this host's software KVM see ${name} whatever KVM is told`,
    }));
  const unseen = before.flatMap((entry, at) =>
    REGISTERS.flatMap((register) => {
      const difference = (entry[register] ^ changed[at]![register]) >>> 0;
      const place = { leaf: entry.function, subleaf: entry.index, register };
      return Array.from({ length: 32 }, (_, bit) => bit)
        .filter((bit) => ((difference >>> bit) & 1) === 1)
        .map((bit) => featureAt(place, bit) ?? `0x${entry.function.toString(16)} ${register} bit ${bit}`);
    }),
  );
  const names = unseen.filter((name) => !FOLLOWED_BY_SOFTWARE.includes(name));
  if (names.length > 0) {
    const shown = names.slice(0, 5).join(', ') + (names.length > 5 ? ` and ${names.length - 5} more` : '');
    const message = `guests on this host's software KVM see its own CPUID, whatever KVM is told of ${shown}`;
    issues.push({ path: TEMPLATE, message });
  }
  if (issues.length === 0) return;
  throw new ConfigError(issues, {
    hint: 'use a host with VT-x or AMD-V; hostCheck "ignore" (--host-check ignore) tells KVM all the same; clearcpuid= on the command line hides features from the kernel alone',
  });
}
