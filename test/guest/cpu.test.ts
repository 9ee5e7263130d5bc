/** The CPU that a guest finds: what it is told by CPUID and by MSRs, and what this host refuses to tell it. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ConfigError, inspectCpu, type VmConfig } from '../../src/index.js';
import { longGuest, runToEnd } from '../support/bare.js';

const software = existsSync('/sys/module/kvm_pvm');
const parameter = '/sys/module/kvm_amd/parameters/nested';
/** Whether this host's KVM could give a guest SVM. */
const nested = existsSync(parameter) && /^[1Y]/.test(readFileSync(parameter, 'latin1'));

/** Exits with a register of a CPUID leaf. */
const cpuid = (leaf: number, register: string): string =>
  `mov eax, ${leaf}\n xor ecx, ecx\n cpuid\n mov eax, ${register}\n out 0xf4, eax\n hlt`;
const ask = async (source: string, config: Partial<VmConfig>): Promise<number> =>
  (await runToEnd(await longGuest(source, { irqchip: true, ...config }))).exit.code >>> 0;

const CX16 = 1 << 13;
const TSC_DEADLINE = 1 << 24;
const POPCNT = 1 << 23;
const [VMX, SVM] = [1 << 5, 1 << 2];

/** Features that Linux knows and does not print in /proc/cpuinfo: without a name in quotes in arch/x86/include/asm/cpufeatures.h. */
const UNPRINTED =
  `lfence_rdtsc autoibrs core_capabilities lass cmpccxadd fred lkgs wrmsrns amx_fp16 avx_ifma avx_vnni_int8
  avx_vnni_int16 avx_ne_convert prefetchi sha512 sm3 sm4`.split(/\s+/);

describe('a guest', () => {
  it('lacks what its configuration hides', async () => {
    const ecx = await ask(cpuid(1, 'ecx'), {});
    expect(ecx & CX16).toBe(CX16);
    const hidden = ['cx16', 'tsc_deadline_timer', ...(software ? [] : ['popcnt'])];
    const without = await ask(cpuid(1, 'ecx'), { cpu: { mask: hidden } });
    expect(without & (CX16 | TSC_DEADLINE)).toBe(0);
    if (!software) expect(without & POPCNT).toBe(0);
    // Nothing else went with them.
    expect(without & 1).toBe(1);
  });

  it('has no virtual machines of its own unless it is asked for', async () => {
    expect((await ask(cpuid(1, 'ecx'), {})) & VMX).toBe(0);
    expect((await ask(cpuid(0x8000_0001, 'ecx'), {})) & SVM).toBe(0);
    if (!nested) return;
    expect((await ask(cpuid(0x8000_0001, 'ecx'), { cpu: { set: { svm: true } } })) & SVM).toBe(SVM);
    expect(await ask(cpuid(0x8000_000a, 'edx'), {})).toBe(0);
  });

  it('has the MSRs of a template, with its other bits as they were', async () => {
    const SYSENTER_ESP = 0x175;
    const source = `mov ecx, ${SYSENTER_ESP}\n rdmsr\n out 0xf4, eax\n hlt`;
    const msr = { addr: '0x175', bitmap: '0b1x1_0000_1111' };
    expect(await ask(source, { cpu: { template: { msr_modifiers: [msr] } } })).toBe(0b101_0000_1111);
  });

  it.skipIf(software)('has the leaves of a template', async () => {
    const template = {
      cpuid_modifiers: [
        {
          leaf: '0x80000002',
          subleaf: '0x0',
          flags: 0,
          modifiers: [{ register: 'eax', bitmap: '0b01010100_01111001_01110000_01100101' }],
        },
      ],
    };
    expect(await ask(cpuid(0x8000_0002, 'eax'), { cpu: { template } })).toBe(0x5479_7065);
  });
});

describe('what this host cannot give', () => {
  const leaf = (number: string, register: string, bitmap: string) => ({
    leaf: number,
    subleaf: '0x0',
    flags: 0,
    modifiers: [{ register, bitmap }],
  });
  it.each([
    [
      { template: { cpuid_modifiers: [leaf('0x1', 'edx', `0b1${'x'.repeat(10)}`)] } },
      'cpu.template.cpuid_modifiers.0.modifiers.0.bitmap',
      'lacks bit 10',
    ],
    [
      { template: { cpuid_modifiers: [leaf('0x20000000', 'eax', '0b1')] } },
      'cpu.template.cpuid_modifiers.0',
      'no CPUID leaf 0x20000000',
    ],
    [
      { template: { msr_modifiers: [{ addr: '0x12345678', bitmap: '0b1' }] } },
      'cpu.template.msr_modifiers.0.addr',
      'no MSR 0x12345678',
    ],
    [
      // LSTAR: an address that is none
      { template: { msr_modifiers: [{ addr: '0xc0000082', bitmap: `0b1${'x'.repeat(63)}` }] } },
      'cpu.template.msr_modifiers.0',
      'MSR 0xc0000082: this host',
    ],
    [{ template: { kvm_capabilities: ['99999'] } }, 'cpu.template.kvm_capabilities.0', 'capability 99999'],
    [{ set: { ia64: true } }, 'cpu.set.ia64', 'no ia64'],
  ])('is refused: %j', async (cpu, path, message) => {
    const refused = await longGuest('hlt', { cpu }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ConfigError);
    expect((refused as ConfigError).issues).toEqual([{ path, message: expect.stringContaining(message) }]);
  });

  it.runIf(software)('is what a guest would not see', async () => {
    await expect(longGuest('hlt', { cpu: { mask: ['cx16', 'popcnt'] } })).rejects.toThrow(
      "cpu.mask.1: guests on this host's software KVM see popcnt whatever KVM is told",
    );
    await (await longGuest('hlt', { cpu: { mask: ['popcnt'] }, hostCheck: 'ignore' })).kill();
  });
});

describe('inspectCpu', () => {
  it('tells what a guest finds', async () => {
    const report = await inspectCpu({ cpus: 2, cpu: { mask: ['cx16'] } });
    expect(report.host).toBe(software ? 'software' : 'hardware');
    expect(report.features).toEqual(expect.arrayContaining(['fpu', 'sse2', 'lm', 'hypervisor']));
    expect(report.features).not.toContain('cx16');
    const first = report.cpuid.find(({ leaf }) => leaf === 1)!;
    expect(first.ecx).toBe(await ask(cpuid(1, 'ecx'), { cpu: { mask: ['cx16'] } }));
    expect(report.msrs).toContainEqual({ index: 0x1a0, name: 'MISC_ENABLE', value: 1n });
  });

  it.runIf(software)('knows the names of what this host has', async () => {
    const [, flags] = /^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))!;
    const { features } = await inspectCpu();
    // What a kernel decides for itself aside, a guest there sees nothing that the host has not.
    const own = new Set([...flags!.split(' '), ...UNPRINTED]);
    expect(features.length).toBeGreaterThan(40);
    expect(features.filter((name) => !own.has(name))).toEqual([]);
  });
});
