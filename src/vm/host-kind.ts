/**
 * What kind of KVM this host has (DESIGN.md §7) and what a guest's command line needs because of it.
 * Runs on: main.
 */
import { existsSync } from 'node:fs';
import { hasParameter } from '../boot/cmdline.js';

/** `software`: guest kernel code goes through KVM's instruction emulator (kvm-pvm). */
export type HostKind = 'hardware' | 'software';

/** The module's folder is the one sign that does not depend on running a guest. */
export const detectHostKind = (modules = '/sys/module'): HostKind =>
  existsSync(`${modules}/kvm_pvm`) ? 'software' : 'hardware';

/**
 * CPU features that the guest's kernel would use and the emulator cannot execute, or executes a byte at a time.
 * KVM_SET_CPUID2 does not hide them there: the guest sees the host's own CPUID.
 */
const NOT_EMULATED = 'popcnt,erms,fsrm,bmi1,bmi2,smap,smep,pku,invpcid,pcid,fsgsbase';

/** @returns the words to append for this host, none of which the user has set */
export function hostParameters(kind: HostKind, cmdline: string, tscKhz: number): string[] {
  if (kind === 'hardware') return [];
  const words = [
    'noxsave', // XSAVE and XRSTOR are not emulated
    `clearcpuid=${NOT_EMULATED}`,
    'noreplace-smp', // with one CPU the kernel would patch every lock prefix away, a second or two of emulation
    'percpu_alloc=page', // the other allocator tries sizes for most of a second
    'rodata=off', // saves splitting large pages, each step of which is emulated
    'no_timer_check', // the check waits in emulated loops
    'tsc=reliable', // no watchdog against a slower clock
    `tsc_early_khz=${tscKhz}`, // calibration would take a second of emulated port reads
  ];
  return words.filter((word) => !hasParameter(cmdline, word.split('=')[0] ?? word));
}
