import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/base/errors.js';
import { parseCpuTemplate } from '../../../src/config/cpu-template.js';

const parse = (template: unknown) => parseCpuTemplate(template, 'cpu.template');
const issuesOf = (template: unknown) => {
  try {
    parse(template);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).issues;
  }
  return [];
};
const withBitmap = (bitmap: unknown) => ({ msr_modifiers: [{ addr: '0x10a', bitmap }] });

describe('a CPU template', () => {
  it('is Firecracker’s', () => {
    const template = {
      kvm_capabilities: ['!56', '121'],
      cpuid_modifiers: [
        {
          leaf: '0x7',
          subleaf: '0b1',
          flags: 1,
          modifiers: [{ register: 'ebx', bitmap: '0bxx01' }],
        },
      ],
      msr_modifiers: [{ addr: '0x10A', bitmap: `0b1${'x'.repeat(62)}0` }],
    };
    expect(parse(template)).toEqual({
      kvm_capabilities: [
        { number: 56, wanted: false },
        { number: 121, wanted: true },
      ],
      cpuid_modifiers: [
        {
          leaf: 7,
          subleaf: 1,
          flags: 1,
          modifiers: [{ register: 'ebx', bitmap: { filter: 3n, value: 1n } }],
        },
      ],
      msr_modifiers: [{ addr: 0x10a, bitmap: { filter: 2n ** 63n + 1n, value: 2n ** 63n } }],
    });
  });

  it('may be empty', () => {
    expect(parse({})).toEqual({ kvm_capabilities: [], cpuid_modifiers: [], msr_modifiers: [] });
  });

  it('has bitmaps of up to 64 digits, grouped as one likes', () => {
    expect(parse(withBitmap('0b1111_0000_xxxx')).msr_modifiers[0]!.bitmap).toEqual({
      filter: 0xff0n,
      value: 0xf00n,
    });
    for (const text of ['', '0b', '1010', '0b2', '0b_', '0x1f', `0b${'1'.repeat(65)}`]) {
      const [issue] = issuesOf(withBitmap(text));
      expect(issue!.path).toBe('cpu.template.msr_modifiers.0.bitmap');
      expect(issue!.message).toContain('is no bitmap of up to 64 bits');
    }
  });

  it.each([
    [{ cpuid_modifiers: [{}] }, 'cpuid_modifiers.0.leaf', 'is required'],
    [{ msr_modifiers: [{ addr: '272', bitmap: '0b1' }] }, 'msr_modifiers.0.addr', '"272" is no number'],
    [{ msr_modifiers: [{ addr: '0x100000000', bitmap: '0b1' }] }, 'msr_modifiers.0.addr', 'of 32 bits'],
    [{ msr_modifiers: [{ addr: 272, bitmap: '0b1' }] }, 'msr_modifiers.0.addr', 'must be a string, not 272'],
    [{ kvm_capabilities: ['one'] }, 'kvm_capabilities.0', '"one" is no capability'],
    [{ kvm_capabilities: ['!'] }, 'kvm_capabilities.0', 'is no capability'],
    [{ reg_modifiers: [] }, 'reg_modifiers', 'unknown option'],
  ])('is refused as %j, by the path', (template, path, message) => {
    expect(issuesOf(template)).toContainEqual({
      path: `cpu.template.${path}`,
      message: expect.stringContaining(message),
    });
  });

  it('is refused for registers nobody knows and bits a register has not', () => {
    const modifiers = [
      { register: 'ekx', bitmap: '0b1' },
      { register: 'eax', bitmap: `0b${'x'.repeat(33)}` },
    ];
    const paths = issuesOf({ cpuid_modifiers: [{ leaf: '0x1', subleaf: '0x0', flags: 0, modifiers }] });
    expect(paths.map(({ path }) => path)).toEqual([
      'cpu.template.cpuid_modifiers.0.modifiers.0.register',
      'cpu.template.cpuid_modifiers.0.modifiers.1.bitmap',
    ]);
  });
});
