import { describe, expect, it } from 'vitest';
import { needsPit, type PitQuestion } from '../../../src/vm/pit.js';

const MODERN: PitQuestion = {
  host: 'hardware',
  version: { major: 6, minor: 1 },
  cmdline: 'quiet console=ttyS0 root=/dev/vda',
  hasDeadlineTimer: true,
  tscKhz: 2_445_406,
};

describe('a PIT', () => {
  it('is not for a kernel that has better timers and knows the frequency of the TSC', () => {
    expect(needsPit(MODERN)).toBe(false);
    expect(needsPit({ ...MODERN, version: { major: 5, minor: 6 } })).toBe(false);
  });

  it.each([
    ['a kernel that panics without', { version: { major: 5, minor: 2 } }],
    ['a kernel that is not told the frequency', { version: { major: 5, minor: 5 } }],
    ['a kernel that does not tell its version', { version: undefined }],
    ['a guest without the deadline timer', { hasDeadlineTimer: false }],
    ["a guest that sees its host's CPUID, whatever KVM was told", { host: 'software' }],
    ['a host that does not know the frequency', { tscKhz: 0 }],
  ] satisfies [string, Partial<PitQuestion>][])('is for %s', (_who, change) => {
    expect(needsPit({ ...MODERN, ...change })).toBe(true);
  });

  it.each([
    'nolapic',
    'noapic',
    'nolapic_timer',
    'noapictimer',
    'lapic=notscdeadline',
    'acpi=off',
    'acpi=noirq',
    'notsc',
    'clearcpuid=tsc_deadline_timer',
    'tsc_early_khz=1000000',
  ])('is for a user who takes away what replaces it: %s', (word) => {
    expect(needsPit({ ...MODERN, cmdline: `quiet ${word}` })).toBe(true);
    expect(needsPit({ ...MODERN, cmdline: `quiet -- ${word}` })).toBe(false);
  });
});
