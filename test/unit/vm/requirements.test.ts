import { describe, expect, it } from 'vitest';
import { HostError } from '../../../src/base/errors.js';
import type { CapName } from '../../../src/kvm/abi.js';
import {
  checkCapabilities,
  checkCpuCount,
  missingCapabilities,
  REQUIRED_CAPABILITIES,
} from '../../../src/vm/requirements.js';

/** A KVM without these. */
const without = (...names: readonly (CapName | number)[]) => ({
  capability: (which: CapName | number) => (names.includes(which) ? 0 : 1),
});

describe('the capabilities of a host', () => {
  it('may all be there', () => {
    expect(missingCapabilities(without())).toEqual([]);
    expect(() => checkCapabilities(without())).not.toThrow();
  });

  it('are reported missing all at once, each with what it is for', () => {
    const kvm = without('KVM_CAP_IRQFD', 'KVM_CAP_IMMEDIATE_EXIT');
    expect(missingCapabilities(kvm)).toEqual(['KVM_CAP_IRQFD', 'KVM_CAP_IMMEDIATE_EXIT']);
    expect(() => checkCapabilities(kvm)).toThrow(HostError);
    expect(() => checkCapabilities(kvm)).toThrow(
      expect.objectContaining({
        code: 'ERR_KVM_CAPABILITY',
        message:
          "this host's KVM lacks KVM_CAP_IRQFD (device interrupts), KVM_CAP_IMMEDIATE_EXIT (pausing without lost kicks)",
        hint: expect.stringContaining('doctor'),
      }),
    );
  });

  it('are not asked for when a CPU template says so', () => {
    const kvm = without('KVM_CAP_SET_TSS_ADDR', 'KVM_CAP_IRQFD');
    expect(() => checkCapabilities(kvm, [4, 32])).not.toThrow();
    expect(() => checkCapabilities(kvm, [4])).toThrow('KVM_CAP_IRQFD');
  });

  it('are each asked for', () => {
    for (const name of REQUIRED_CAPABILITIES.keys())
      expect(missingCapabilities(without(name))).toEqual([name]);
  });

  it('count as missing when KVM answers with an error', () => {
    expect(missingCapabilities({ capability: () => -1 })).toHaveLength(REQUIRED_CAPABILITIES.size);
  });
});

describe('the number of vCPUs', () => {
  const kvm = (max: number, recommended: number) => ({
    capability: (which: CapName | number) =>
      which === 'KVM_CAP_MAX_VCPUS' ? max : which === 'KVM_CAP_NR_VCPUS' ? recommended : 1,
  });

  it('is what KVM allows at most, or recommends, or four', () => {
    for (const [host, most] of [
      [kvm(8, 2), 8],
      [kvm(0, 2), 2],
      [kvm(0, 0), 4],
    ] as const) {
      expect(() => checkCpuCount(host, most)).not.toThrow();
      expect(() => checkCpuCount(host, most + 1)).toThrow(
        `cpus: this host's KVM allows ${most}, not ${most + 1}`,
      );
    }
  });
});
