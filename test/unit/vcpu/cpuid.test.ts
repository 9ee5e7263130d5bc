import { describe, expect, it } from 'vitest';
import type { CpuidEntry } from '../../../src/kvm/kvm.js';
import { guestCpuid, hasDeadlineTimer, offeredCpuid, withoutNesting } from '../../../src/vcpu/cpuid.js';
import { leaf } from '../../support/cpuid.js';

const HTT = 1 << 28;
const TSC_DEADLINE = 1 << 24;
const HYPERVISOR = 0x8000_0000;

/** As a host with Linux 6.2 or newer tells it: topology leaves with one empty subleaf. */
const HOST: readonly CpuidEntry[] = [
  leaf(0, 0, { eax: 0x1f, ebx: 0x756e_6547 }),
  leaf(1, 0, { eax: 0x6_0f00, ebx: 0xee40_0800, ecx: TSC_DEADLINE | 1, edx: HTT | 0x201 }),
  leaf(4, 0, { flags: 1, eax: 0x7c00_4121, ebx: 7 }),
  leaf(4, 1, { flags: 1, eax: 0x7c1f_c163 }),
  leaf(4, 2, { flags: 1 }),
  leaf(7, 0, { flags: 1, ebx: 0xf1bf_07ab }),
  leaf(0xb, 0, { flags: 1 }),
  leaf(0x1f, 0, { flags: 1 }),
  leaf(0x8000_0008, 0, { eax: 0x3030, ecx: 0x0001_70ff }),
  leaf(0x8000_001d, 0, { eax: 0x3c_0163 }),
  leaf(0x8000_001e, 0, { eax: 77, ebx: 0x0102, ecx: 0x0301 }),
];

const CPUS = Array.from({ length: 32 }, (_, index) => index + 1);

/** What the guest's CPUID gives on vCPU `apicId` of `cpus`. */
function guest(apicId: number, cpus: number, { host = HOST, tscDeadline = true } = {}) {
  const entries = guestCpuid(offeredCpuid(host, tscDeadline), { apicId, cpus });
  return (fn: number, index = 0): CpuidEntry => entries.find((e) => e.function === fn && e.index === index)!;
}

describe.each(CPUS)('a guest of %i vCPUs', (cpus) => {
  const each = (check: (cpuid: ReturnType<typeof guest>, apicId: number) => void): void => {
    for (let apicId = 0; apicId < cpus; apicId += 1) check(guest(apicId, cpus), apicId);
  };
  /** The package an APIC id is in, when `bits` of it number what is inside. */
  const packageOf = (apicId: number, bits: number): number => apicId >>> bits;

  it('sees its place in leaf 1: APIC id, logical processors, and whether that counts', () => {
    each((cpuid, apicId) => {
      const { ebx, edx } = cpuid(1);
      expect(ebx >>> 24).toBe(apicId);
      expect((ebx >>> 16) & 0xff).toBe(cpus);
      expect(ebx & 0xffff).toBe(0x0800);
      expect((edx & HTT) !== 0).toBe(cpus > 1);
      expect(edx & 0x201).toBe(0x201);
    });
  });

  it('sees one package of cores with one thread each: Intel leaves 0xb, 0x1f and 4', () => {
    each((cpuid, apicId) => {
      for (const fn of [0xb, 0x1f]) {
        const [thread, core, end] = [0, 1, 2].map((index) => cpuid(fn, index));
        expect([thread!.eax, thread!.ebx, thread!.ecx, thread!.edx]).toEqual([0, 1, 0x100, apicId]);
        expect([core!.ebx, core!.ecx, core!.edx]).toEqual([cpus, 0x201, apicId]);
        expect(packageOf(apicId, core!.eax)).toBe(0);
        expect(2 ** core!.eax).toBeLessThan(2 * cpus);
        expect([end!.eax, end!.ebx, end!.ecx, end!.edx]).toEqual([0, 0, 2, apicId]);
        for (const entry of [thread, core, end]) expect(entry!.flags).toBe(1);
      }
      for (const index of [0, 1]) {
        const { eax } = cpuid(4, index);
        expect((eax >>> 26) + 1).toBeGreaterThanOrEqual(cpus); // cores in the package
        expect((eax >>> 14) & 0xfff).toBe(0); // nobody else at this cache
      }
      expect(cpuid(4, 2).eax).toBe(0);
    });
  });

  it('sees the same by AMD leaves 0x8000_0008, 0x8000_001d and 0x8000_001e', () => {
    each((cpuid, apicId) => {
      const { eax, ecx } = cpuid(0x8000_0008);
      expect(eax).toBe(0x3030);
      expect((ecx & 0xff) + 1).toBe(cpus);
      expect(packageOf(apicId, (ecx >>> 12) & 0xf)).toBe(0);
      expect(ecx >>> 16).toBe(1);
      const topology = cpuid(0x8000_001e);
      expect([topology.eax, topology.ebx, topology.ecx]).toEqual([apicId, apicId, 0]);
      expect((cpuid(0x8000_001d).eax >>> 14) & 0xfff).toBe(0);
    });
  });

  it('has no value that does not fit 32 bits', () => {
    each((_cpuid, apicId) => {
      const entries = guestCpuid(offeredCpuid(HOST, true), { apicId, cpus });
      const values = entries.flatMap(({ eax, ebx, ecx, edx }) => [eax, ebx, ecx, edx]);
      expect(values.filter((value) => value >>> 0 !== value)).toEqual([]);
    });
  });
});

describe('CPUID', () => {
  it('always shows a hypervisor, and the TSC-deadline timer only when the LAPIC has it', () => {
    expect(guest(0, 1)(1).ecx).toBe((HYPERVISOR | TSC_DEADLINE | 1) >>> 0);
    expect(guest(0, 1, { tscDeadline: false })(1).ecx).toBe((HYPERVISOR | 1) >>> 0);
    const without = HOST.map((entry) => (entry.function === 1 ? { ...entry, ecx: 1 } : entry));
    expect(guest(0, 1, { host: without })(1).ecx).toBe((HYPERVISOR | TSC_DEADLINE | 1) >>> 0);
  });

  it('has a timer of its own where the LAPIC has TSC deadlines that come in every sleep state', () => {
    const [deadline, arat] = [leaf(1, 0, { ecx: TSC_DEADLINE }), leaf(6, 0, { eax: 4 })];
    expect(hasDeadlineTimer([deadline, arat])).toBe(true);
    expect(hasDeadlineTimer([deadline])).toBe(false);
    expect(hasDeadlineTimer([deadline, leaf(6, 0, { eax: 3 })])).toBe(false);
    expect(hasDeadlineTimer([leaf(1, 0), arat])).toBe(false);
  });

  it('leaves what it does not know as the host has it', () => {
    const cpuid = guest(1, 2);
    for (const fn of [0, 7]) expect(cpuid(fn)).toEqual(HOST.find((entry) => entry.function === fn));
  });

  it('replaces the subleaves that older kernels fill in, and makes up none of leaves the host does not have', () => {
    const old = [
      leaf(1, 0),
      leaf(0xb, 0, { flags: 1, eax: 1, ebx: 2, ecx: 0x100, edx: 5 }),
      leaf(0xb, 1, { flags: 1, eax: 6, ebx: 64, ecx: 0x201, edx: 5 }),
    ];
    const entries = guestCpuid(old, { apicId: 1, cpus: 2 });
    expect(entries.filter((entry) => entry.function === 0xb).map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(entries.find((e) => e.function === 0xb && e.index === 1)).toMatchObject({
      eax: 1,
      ebx: 2,
      edx: 1,
    });
    expect(entries.some((entry) => entry.function === 0x1f)).toBe(false);
  });

  it('shows neither VMX nor SVM, nor what SVM can do', () => {
    const [VMX, SVM] = [1 << 5, 1 << 2];
    const nesting = [
      leaf(1, 0, { ecx: VMX | 1 }),
      leaf(0x8000_0001, 0, { ecx: SVM | 1 }),
      leaf(0x8000_000a, 0, { eax: 1, ebx: 8, edx: 0xff }),
    ];
    expect(withoutNesting(nesting)).toEqual([
      leaf(1, 0, { ecx: 1 }),
      leaf(0x8000_0001, 0, { ecx: 1 }),
      leaf(0x8000_000a, 0),
    ]);
  });

  it('does not change what it was given', () => {
    const before = structuredClone(HOST);
    guestCpuid(withoutNesting(offeredCpuid(HOST, false)), { apicId: 3, cpus: 4 });
    expect(HOST).toEqual(before);
  });
});
