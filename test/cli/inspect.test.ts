/** `node vmm.js inspect cpu`. */
import { afterAll, describe, expect, it } from 'vitest';
import { vmm } from '../support/command.js';
import { Folder } from '../support/folder.js';

const folder = new Folder();
afterAll(() => folder[Symbol.dispose]());

describe('inspect cpu', () => {
  it('lists features, leaves and MSRs', async () => {
    const { code, stdout, stderr } = await vmm(['inspect', 'cpu', '--cpu', 'cx16=off']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^features, as in \/proc\/cpuinfo \((software|hardware) KVM\):\n {2}fpu /);
    expect(stdout).not.toMatch(/ cx16 /);
    expect(stdout).toMatch(/^0x00000001 {3}0x00( +0x[0-9a-f]{8}){4}$/m);
    expect(stdout).toMatch(/^0x000001a0 {2}0x0{15}1 {2}MISC_ENABLE$/m);
  });

  it('gives the same as JSON, with numbers as templates have them', async () => {
    const config = folder.file('c.json', JSON.stringify({ cpus: 2, cpu: { template: 't.json' } }));
    folder.file('t.json', JSON.stringify({ msr_modifiers: [{ addr: '0x175', bitmap: '0b101' }] }));
    const { stdout } = await vmm(['inspect', 'cpu', '--json', '--config', config]);
    const report = JSON.parse(stdout);
    expect(report.features).toContain('sse2');
    expect(report.cpuid).toContainEqual(expect.objectContaining({ leaf: '0x1', subleaf: '0x0' }));
    expect(report.msrs).toContainEqual({ addr: '0x175', name: 'SYSENTER_ESP', value: '0x5' });
  });

  it.each([
    [['inspect'], 'vmm: inspect: what? there is cpu'],
    [['inspect', 'memory'], 'vmm: inspect: unknown: memory; there is cpu'],
    [['inspect', 'cpu', '--cpu', 'avx3=off'], '"avx3" is no CPU feature; did you mean avx'],
    [['inspect', 'cpu', '--cpu', 'avx2=maybe'], '--cpu set.avx2: must be a boolean, not "maybe"'],
    [['inspect', 'cpu', '--cpu', 'ia64=on'], "--cpu set.ia64: this host's KVM has no ia64"],
  ])('refuses %j', async (args, says) => {
    const { code, stdout, stderr } = await vmm(args);
    expect({ code, stdout }).toEqual({ code: 64, stdout: '' });
    expect(stderr).toContain(says);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  it('says how it is used', async () => {
    expect((await vmm(['inspect', '--help'])).stdout).toMatch(/^usage: node vmm\.js inspect cpu /);
  });

  it('says which file of a template is not there', async () => {
    const { code, stderr } = await vmm(['inspect', 'cpu', '--cpu', 'template=/absent']);
    expect(code).toBe(66);
    expect(stderr).toContain('cpu.template: no such file: /absent');
  });
});
