import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { parseConfig, type VmConfig } from '../../../src/config/schema.js';
import type { Kvm } from '../../../src/kvm/kvm.js';
import { loadCpuModel } from '../../../src/vm/cpu.js';
import type { HostKind } from '../../../src/vm/host-kind.js';
import { bit, leaf } from '../../support/cpuid.js';

const folder = mkdtempSync(join(tmpdir(), 'typevisor-cpu-'));
afterAll(() => rmSync(folder, { recursive: true }));

const load = (cpu: VmConfig['cpu'], host: HostKind = 'hardware', more: Partial<VmConfig> = {}) =>
  loadCpuModel(parseConfig({ kernel: 'k', cpu, ...more }), host);
const issues = (...list: object[]) => expect.objectContaining({ issues: list });

const LEAVES = [leaf(1, 0, { ecx: bit(13) | bit(23) })];
/** A host's KVM with capability 121 and MSR 0x10a. */
const KVM = {
  capability: (which: number) => (which === 121 ? 1 : 0),
  msrIndices: () => new Set([0x10a]),
} as unknown as Kvm;

describe('the option cpu', () => {
  it('hides by mask and by set', () => {
    expect(load({ mask: ['cx16'] }).adjust(LEAVES)[0]!.ecx).toBe(bit(23));
    expect(load({ set: { popcnt: false, cx16: true } }).adjust(LEAVES)[0]!.ecx).toBe(bit(13));
  });

  it('knows its features, and which one was meant', () => {
    expect(() => load({ mask: ['cx16', 'avx3'], set: { nopl: true } })).toThrow(
      issues(
        {
          path: 'cpu.mask.1',
          message: expect.stringContaining('"avx3" is no CPU feature; did you mean avx'),
        },
        { path: 'cpu.set.nopl', message: expect.stringContaining('"nopl" is no CPU feature') },
      ),
    );
  });

  it('takes a template as an object, a path or a URL', () => {
    const template = { msr_modifiers: [{ addr: '0x10a', bitmap: '0b1' }] };
    const path = join(folder, 'template.json');
    writeFileSync(path, JSON.stringify(template));
    const msrs = [{ index: 0x10a, bitmap: { filter: 1n, value: 1n }, path: 'cpu.template.msr_modifiers.0' }];
    for (const one of [template, path, pathToFileURL(path)]) {
      expect(load({ template: one }).msrs).toEqual(msrs);
    }
  });

  it('says why a template’s file will not do', () => {
    const absent = join(folder, 'absent');
    expect(() => load({ template: absent })).toThrow(
      expect.objectContaining({ code: 'ERR_FILE', message: `cpu.template: no such file: ${absent}` }),
    );
    expect(() => load({ template: folder })).toThrow('cpu.template: is a directory');
    const bad = join(folder, 'bad.json');
    writeFileSync(bad, '{');
    expect(() => load({ template: bad })).toThrow(
      issues({ path: 'cpu.template', message: expect.stringMatching(/bad\.json is not JSON: /) }),
    );
  });

  it('asks KVM for what the template needs, and spares what it does not want', () => {
    const model = load({
      template: {
        kvm_capabilities: ['!4', '121', '122'],
        msr_modifiers: [
          { addr: '0x10a', bitmap: '0b1' },
          { addr: '0x999', bitmap: '0b1' },
        ],
      },
    });
    expect(model.sparedCapabilities).toEqual([4]);
    expect(() => model.check?.(KVM)).toThrow(
      issues(
        { path: 'cpu.template.kvm_capabilities.2', message: "this host's KVM lacks capability 122" },
        { path: 'cpu.template.msr_modifiers.1.addr', message: "this host's KVM has no MSR 0x999" },
      ),
    );
    expect(() => load({ template: { kvm_capabilities: ['121'] } }).check?.(KVM)).not.toThrow();
  });

  it('is refused on software KVM where a guest would not see it', () => {
    expect(() => load({ mask: ['popcnt', 'cx16'], set: { avx2: false } }, 'software').adjust(LEAVES)).toThrow(
      issues(
        { path: 'cpu.mask.0', message: expect.stringContaining('see popcnt whatever KVM is told') },
        { path: 'cpu.set.avx2', message: expect.stringContaining('see avx2 whatever KVM is told') },
      ),
    );
    expect(load({ mask: ['cx16'] }, 'software').adjust(LEAVES)[0]!.ecx).toBe(bit(23));
    const template = {
      cpuid_modifiers: [
        {
          leaf: '0x1',
          subleaf: '0x0',
          flags: 0,
          modifiers: [{ register: 'ecx', bitmap: `0b0${'x'.repeat(23)}` }],
        },
      ],
    };
    expect(() => load({ template }, 'software').adjust(LEAVES)).toThrow(
      issues({ path: 'cpu.template', message: expect.stringContaining('told of popcnt') }),
    );
    const ignored = load({ mask: ['popcnt'] }, 'software', { hostCheck: 'ignore' });
    expect(ignored.adjust(LEAVES)[0]!.ecx).toBe(bit(13));
  });
});
