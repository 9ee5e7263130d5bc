import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/base/errors.js';
import type { CpuidEntry } from '../../../src/kvm/kvm.js';
import { FEATURES, featureNames } from '../../../src/vcpu/cpu-features.js';
import { type CpuWishes, wishedCpuid } from '../../../src/vcpu/cpu-model.js';
import { bit, leaf } from '../../support/cpuid.js';

/** A host with VMX, SVM, CX16, SSE2, AVX2 and SSBD by AMD's bit. */
const HOST: readonly CpuidEntry[] = [
  leaf(1, 0, { eax: 0x806f8, ecx: bit(5) | bit(13), edx: bit(0) | bit(26) }),
  leaf(7, 0, { flags: 1, ebx: bit(5) }),
  leaf(0x8000_0001, 0, { ecx: bit(2), edx: bit(0) | bit(29) }),
  leaf(0x8000_0008, 0, { ebx: bit(24) }),
  leaf(0x8000_000a, 0, { eax: 1, ebx: 8, edx: bit(0) }),
];

const wishes = (
  features: Readonly<Record<string, boolean>>,
  leaves: CpuWishes['leaves'] = [],
): CpuWishes => ({
  leaves,
  features: Object.entries(features).map(([name, on]) => ({ name, on, path: `cpu.set.${name}` })),
});
/** A template's change of one register. */
const change = (
  leafNumber: number,
  register: 'eax' | 'ecx' | 'edx',
  filter: number,
  value: number,
): CpuWishes['leaves'][number] => ({
  leaf: leafNumber,
  subleaf: 0,
  flags: 0,
  modifiers: [{ register, bitmap: { filter: BigInt(filter), value: BigInt(value) } }],
  path: 'cpu.template.cpuid_modifiers.0',
});
const names = (features: Readonly<Record<string, boolean>>): string[] =>
  featureNames(wishedCpuid(HOST, wishes(features)));
const issuesOf = (wanted: CpuWishes): unknown => {
  try {
    wishedCpuid(HOST, wanted);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).issues;
  }
  return [];
};

describe('the names of features', () => {
  it('have a bit each, and no two the same', () => {
    const bits = [...FEATURES.values()].flat().map((one) => JSON.stringify(one));
    expect(FEATURES.size).toBeGreaterThan(150);
    expect(bits.length).toBeGreaterThanOrEqual(FEATURES.size);
    const shared = bits.filter((one, index) => bits.indexOf(one) !== index);
    // ibrs and ibpb on Intel, constant_tsc and nonstop_tsc: two names of Linux for one bit.
    expect(shared).toHaveLength(2);
    for (const one of [...FEATURES.values()].flat()) {
      expect(one.bit).toBeLessThan(32);
      expect(['eax', 'ebx', 'ecx', 'edx']).toContain(one.register);
    }
  });

  it('are where the manuals have them', () => {
    const where = (name: string) => FEATURES.get(name)?.[0];
    expect(where('pbe')).toEqual({ leaf: 1, subleaf: 0, register: 'edx', bit: 31 });
    expect(where('hypervisor')).toEqual({ leaf: 1, subleaf: 0, register: 'ecx', bit: 31 });
    expect(where('avx512vl')).toEqual({ leaf: 7, subleaf: 0, register: 'ebx', bit: 31 });
    expect(where('sgx_lc')).toEqual({ leaf: 7, subleaf: 0, register: 'ecx', bit: 30 });
    expect(where('arch_capabilities')).toEqual({ leaf: 7, subleaf: 0, register: 'edx', bit: 29 });
    expect(where('lam')).toEqual({ leaf: 7, subleaf: 1, register: 'eax', bit: 26 });
    expect(where('xsaves')).toEqual({ leaf: 0xd, subleaf: 1, register: 'eax', bit: 3 });
    expect(where('lm')).toEqual({ leaf: 0x8000_0001, subleaf: 0, register: 'edx', bit: 29 });
    expect(where('mwaitx')).toEqual({ leaf: 0x8000_0001, subleaf: 0, register: 'ecx', bit: 29 });
    expect(where('vgif')).toEqual({ leaf: 0x8000_000a, subleaf: 0, register: 'edx', bit: 16 });
  });
});

describe('the CPU that a configuration asks for', () => {
  it('is the host’s without nested virtualization, unless it says otherwise', () => {
    expect(names({})).toEqual(['fpu', 'sse2', 'cx16', 'avx2', 'ssbd', 'lm']);
    expect(names({ vmx: true })).toContain('vmx');
    expect(names({ svm: true })).toEqual(expect.arrayContaining(['svm', 'npt']));
  });

  it('lacks what is hidden, wherever CPUID tells of it', () => {
    expect(names({ avx2: false, cx16: false })).toEqual(['fpu', 'sse2', 'ssbd', 'lm']);
    expect(names({ ssbd: false })).not.toContain('ssbd');
    // Hidden and absent is as wished.
    expect(names({ avx512f: false })).toEqual(names({}));
  });

  it('hides AMD’s copies of leaf 1 with the original', () => {
    const [, , extended] = wishedCpuid(HOST, wishes({ fpu: false }));
    expect(extended!.edx).toBe(bit(29));
  });

  it('is refused when the host has not what is demanded: all of it, each by its path', () => {
    expect(issuesOf(wishes({ avx2: true, avx512f: true, sha_ni: true }))).toEqual([
      { path: 'cpu.set.avx512f', message: "this host's KVM has no avx512f" },
      { path: 'cpu.set.sha_ni', message: "this host's KVM has no sha_ni" },
    ]);
  });

  it('has the bits of a template, and the others as they were', () => {
    const [first] = wishedCpuid(HOST, wishes({}, [change(1, 'eax', 0xff00, 0x1200)]));
    expect(first!.eax).toBe(0x812f8);
    expect(first!.ecx).toBe(bit(13));
  });

  it('follows names over a template', () => {
    const leaves = [change(1, 'ecx', bit(13), bit(13))];
    expect(featureNames(wishedCpuid(HOST, wishes({ cx16: false }, leaves)))).not.toContain('cx16');
  });

  it('is refused for a bit that this host lacks, by its name, but not for a number that differs', () => {
    expect(issuesOf(wishes({}, [change(1, 'ecx', bit(28) | bit(16), bit(28) | bit(16))]))).toEqual([
      {
        path: 'cpu.template.cpuid_modifiers.0.modifiers.0.bitmap',
        message: "this host's KVM lacks bit 16, bit 28 (avx)",
      },
    ]);
    expect(issuesOf(wishes({}, [change(1, 'eax', 0xffff_ffff, 0xffff_ffff)]))).toEqual([]);
    // OSXSAVE is the guest's own to set.
    expect(issuesOf(wishes({}, [change(1, 'ecx', bit(27), bit(27))]))).toEqual([]);
  });

  it('is refused for a leaf that this host lacks', () => {
    expect(issuesOf(wishes({}, [change(0x14, 'eax', 1, 1)]))).toEqual([
      {
        path: 'cpu.template.cpuid_modifiers.0',
        message: "this host's KVM has no CPUID leaf 0x14, subleaf 0x0",
      },
    ]);
  });

  it('leaves what it was given as it was', () => {
    const before = structuredClone(HOST);
    wishedCpuid(HOST, wishes({ svm: true, avx2: false }));
    expect(HOST).toEqual(before);
  });
});
