import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hasParameter } from '../../../src/boot/cmdline.js';
import { detectHostKind, hostParameters } from '../../../src/vm/host-kind.js';

describe('the kind of KVM', () => {
  it('is told by its module', () => {
    const modules = mkdtempSync(join(tmpdir(), 'typevisor-modules-'));
    try {
      expect(detectHostKind(modules)).toBe('hardware');
      mkdirSync(join(modules, 'kvm_pvm'));
      expect(detectHostKind(modules)).toBe('software');
    } finally {
      rmSync(modules, { recursive: true });
    }
  });
});

describe('the parameters a kernel needs because of its host', () => {
  it('are none where the CPU runs it', () => expect(hostParameters('hardware', '', 2_000_000)).toEqual([]));

  it('are several where KVM emulates it, with the host’s own clock rate', () => {
    const words = hostParameters('software', 'quiet', 2_345_678);
    expect(words).toContain('tsc_early_khz=2345678');
    expect(words).toContain('noxsave');
    expect(words.length).toBeGreaterThan(5);
  });

  it('leave alone what the user has set', () => {
    const line = 'noxsave tsc=unstable clearcpuid=smap';
    const words = hostParameters('software', line, 1);
    for (const name of ['noxsave', 'tsc', 'clearcpuid'])
      expect(hasParameter(words.join(' '), name)).toBe(false);
  });
});
