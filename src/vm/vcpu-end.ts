/**
 * What it means for the VM that a vCPU has stopped for good, or that nothing can wake the guest any more.
 * Runs on: main.
 */
import { VmmError } from '../base/errors.js';
import type { VcpuEnd } from '../vcpu/loop.js';
import type { Guest } from './build.js';
import { crashReport, describeEnd, REGISTERS_LOST } from './crash.js';
import type { ExitInfo, ExitReason } from './exit-info.js';
import { guestSaid } from './guest-words.js';
import type { Vcpu } from './machine.js';

/** How the VM ends: arguments of its end. */
type Meaning = readonly [reason: ExitReason, message: string, more?: Partial<ExitInfo>];

/** @param end of this vCPU. What the guest wrote last decides what it means, so that must have been delivered. */
export function meaningOfEnd({ log, machine, flat, crashHint }: Guest, vcpu: Vcpu, end: VcpuEnd): Meaning {
  if (end.kind === 'hlt' && flat) return ['exit', 'the guest halted', { code: 0 }];
  if (end.kind === 'shutdown' && guestSaid(log, 'restarting'))
    return ['reboot', 'the guest reset the machine'];
  const summary = describeEnd(end);
  const crash = crashReport(summary, vcpu.kvm, machine.ram.memory, log.tail(20));
  if (end.kind === 'device-error') {
    const error = new VmmError('ERR_VMM_HOST', summary, { cause: end.error });
    return ['error', summary, { crash, error }];
  }
  if (end.kind === 'shutdown') {
    const lost = crash.registers.length === 0;
    return ['triple-fault', summary, lost ? { crash, hint: REGISTERS_LOST } : { crash }];
  }
  return ['kvm-error', summary, { crash, hint: crashHint(end) }];
}

/** Every vCPU is halted for good. */
export function meaningOfHalt({ log, machine }: Guest): Meaning {
  if (guestSaid(log, 'halted')) return ['poweroff', 'the guest powered off'];
  const summary = 'every vCPU is halted with interrupts off: nothing can wake the guest';
  const crash = crashReport(summary, machine.vcpus[0]!.kvm, machine.ram.memory, log.tail(20));
  return ['halted', summary, { crash }];
}
