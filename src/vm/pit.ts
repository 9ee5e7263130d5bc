/**
 * Which Linux guests get an i8254, the PC's oldest timer. KVM's has a thread in the host's kernel and keeps AMD's hosts from
 * accelerating interrupts (AVIC), and a guest with a better timer never looks at it; so it is there only for who may need it. Linux
 * decides in apic_needs_pit() (arch/x86/kernel/apic/apic.c), whose conditions these are.
 * Runs on: main.
 */
import { hasParameter } from '../boot/cmdline.js';
import { isSince, type KernelVersion } from '../boot/kernel-version.js';
import type { HostKind } from './host-kind.js';

/**
 * Linux boots without a PIT since 5.3: older ones look for its interrupt, and panic. The parameter that tells kernels without
 * kvm-clock how fast the TSC is, which they would measure by the PIT, came with 5.6.
 */
const SINCE: KernelVersion = { major: 5, minor: 6 };

/** Words that take away what replaces the PIT: the LAPIC, its deadline timer, the tables that describe it, the TSC. */
const CONTRARY = [
  'nolapic',
  'noapic',
  'nolapic_timer',
  'noapictimer',
  'disableapic',
  'lapic',
  'acpi',
  'notsc',
  'clearcpuid',
  'tsc_early_khz',
];

export interface PitQuestion {
  readonly host: HostKind;
  readonly version: KernelVersion | undefined;
  /** The user's. */
  readonly cmdline: string;
  /** Whether the guest's CPUs have a LAPIC timer that works by the TSC alone, as KVM was told. */
  readonly hasDeadlineTimer: boolean;
  /** The guest's TSC frequency, kHz; 0 when KVM does not know. */
  readonly tscKhz: number;
}

export function needsPit({ host, version, cmdline, hasDeadlineTimer, tscKhz }: PitQuestion): boolean {
  // Guests there see the host's own CPUID: what KVM was told of the LAPIC's timer is no promise.
  if (host === 'software') return true;
  if (!isSince(version, SINCE) || !hasDeadlineTimer || tscKhz === 0) return true;
  return CONTRARY.some((name) => hasParameter(cmdline, name));
}
