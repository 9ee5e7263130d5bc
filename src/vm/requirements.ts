/** What the monitor needs of a host's KVM, as one list, reported all at once. Runs on: main. */
import { ConfigError, HostError } from '../base/errors.js';
import { type CapName, caps } from '../kvm/abi.js';
import type { Kvm } from '../kvm/kvm.js';

/** Capability → why we cannot do without. */
export const REQUIRED_CAPABILITIES: ReadonlyMap<CapName, string> = new Map<CapName, string>([
  ['KVM_CAP_USER_MEMORY', 'guest memory'],
  ['KVM_CAP_SET_TSS_ADDR', 'real mode on VT-x'],
  ['KVM_CAP_SET_IDENTITY_MAP_ADDR', 'real mode on VT-x'],
  ['KVM_CAP_EXT_CPUID', 'CPUID'],
  ['KVM_CAP_IRQCHIP', 'interrupt controllers'],
  ['KVM_CAP_PIT2', 'the timer'],
  ['KVM_CAP_IRQFD', 'device interrupts'],
  ['KVM_CAP_IOEVENTFD', 'device doorbells'],
  ['KVM_CAP_MP_STATE', 'halted vCPUs'],
  ['KVM_CAP_IMMEDIATE_EXIT', 'pausing without lost kicks'],
]);

/** Whatever can tell capabilities: `Kvm`, or a table in a test. */
export type CapabilitySource = Pick<Kvm, 'capability'>;

export function missingCapabilities(kvm: CapabilitySource): CapName[] {
  return [...REQUIRED_CAPABILITIES.keys()].filter((name) => kvm.capability(name) <= 0);
}

/**
 * @param spared numbers of capabilities that a CPU template does not want to be asked for
 * @throws HostError ERR_KVM_CAPABILITY that names everything missing
 */
export function checkCapabilities(kvm: CapabilitySource, spared: readonly number[] = []): void {
  const missing = missingCapabilities(kvm).filter((name) => !spared.includes(caps[name]));
  if (missing.length === 0) return;
  const list = missing.map((name) => `${name} (${REQUIRED_CAPABILITIES.get(name)})`).join(', ');
  throw new HostError(`this host's KVM lacks ${list}`, 'KVM_CHECK_EXTENSION', undefined, undefined, {
    code: 'ERR_KVM_CAPABILITY',
    hint: 'use a host with Linux 4.12 or newer; `vmm doctor` tells more',
  });
}

/** What KVM allows when it does not say (api.rst KVM_CREATE_VCPU). */
const MAX_VCPUS_UNSAID = 4;

/** @throws ConfigError when this host's KVM does not allow as many vCPUs */
export function checkCpuCount(kvm: CapabilitySource, cpus: number): void {
  const most = kvm.capability('KVM_CAP_MAX_VCPUS') || kvm.capability('KVM_CAP_NR_VCPUS') || MAX_VCPUS_UNSAID;
  if (cpus <= most) return;
  throw new ConfigError([{ path: 'cpus', message: `this host's KVM allows ${most}, not ${cpus}` }]);
}
