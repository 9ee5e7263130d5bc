/**
 * A crashed guest, made readable: registers, the bytes at RIP, the console's last lines, and what it probably means.
 * Runs on: main, while the vCPU is parked.
 */
import { gpa, hex } from '../base/units.js';
import { internalErrors } from '../kvm/abi.js';
import type { KvmRegs, KvmSregs, KvmVcpu } from '../kvm/kvm.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { VcpuEnd } from '../vcpu/loop.js';
import type { CrashReport } from './exit-info.js';

/** Longest x86 instruction, bytes (SDM vol. 2 §2.3.11). */
const MAX_INSTRUCTION = 15;

/** What a report asks of a vCPU. */
export type CrashedVcpu = Pick<KvmVcpu, 'getRegs' | 'getSregs' | 'translate'>;

const register = (name: string, value: bigint): string =>
  `${name.padEnd(6)} 0x${value.toString(16).padStart(16, '0')}`;

export function crashReport(
  summary: string,
  vcpu: CrashedVcpu,
  memory: GuestMemory,
  consoleTail: string,
): CrashReport {
  const regs = vcpu.getRegs();
  const sregs = vcpu.getSregs();
  if (wasReset(regs, sregs)) return { summary, registers: [], instruction: undefined, consoleTail };
  return {
    summary,
    registers: describeRegisters(regs, sregs),
    instruction: instructionAt(vcpu, memory, regs, sregs),
    consoleTail,
  };
}

/** Where a CPU begins after a reset (SDM vol. 3, "First Instruction Executed"). */
const RESET_VECTOR = { base: 0xffff_0000n, rip: 0xfff0n } as const;

/** On AMD a triple fault leaves nothing to read, so KVM resets the vCPU (arch/x86/kvm/svm/svm.c, shutdown_interception). */
const wasReset = (regs: KvmRegs, { cs }: KvmSregs): boolean =>
  regs.rip === RESET_VECTOR.rip && cs.base === RESET_VECTOR.base;

/** What a report without registers says of it. */
export const REGISTERS_LOST = "this host's CPU lost the registers when the guest triple-faulted";

export function describeRegisters(regs: KvmRegs, sregs: KvmSregs): string[] {
  const { cs, ss, cr0, cr2, cr3, cr4, efer } = sregs;
  const rest = Object.entries(regs).filter(([name]) => name !== 'rip' && name !== 'rflags');
  return [
    register('RIP', regs.rip),
    register('RFLAGS', regs.rflags),
    ...rest.map(([name, value]) => register(name.toUpperCase(), value)),
    `CS     ${hex(cs.selector)} base ${hex(cs.base)}${cs.l ? ' 64-bit' : cs.db ? ' 32-bit' : ' 16-bit'}, CPL ${ss.dpl}`,
    ...Object.entries({ CR0: cr0, CR2: cr2, CR3: cr3, CR4: cr4, EFER: efer }).map(([name, value]) =>
      register(name, value),
    ),
  ];
}

function instructionAt(
  vcpu: CrashedVcpu,
  memory: GuestMemory,
  regs: KvmRegs,
  sregs: KvmSregs,
): Uint8Array | undefined {
  const linear = sregs.cs.l ? regs.rip : sregs.cs.base + regs.rip;
  const at = vcpu.translate(linear);
  if (at === undefined) return undefined;
  // Bytes of the next page may not follow physically; a report does with those of the first.
  const length = Math.min(MAX_INSTRUCTION, 0x1000 - (at % 0x1000));
  return memory.contains(gpa(at), length) ? memory.slice(gpa(at), length).slice() : undefined;
}

const SUBERRORS: Readonly<Record<number, string>> = {
  [internalErrors.KVM_INTERNAL_ERROR_EMULATION]: 'KVM could not emulate an instruction',
  [internalErrors.KVM_INTERNAL_ERROR_SIMUL_EX]: 'KVM met an exception while delivering another',
  [internalErrors.KVM_INTERNAL_ERROR_DELIVERY_EV]: 'KVM could not deliver an event',
  [internalErrors.KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON]: 'the CPU left the guest for an unknown reason',
};

/** One line for an end that is not the guest's will. */
export function describeEnd(end: VcpuEnd): string {
  switch (end.kind) {
    case 'internal-error':
      return SUBERRORS[end.suberror] ?? `KVM internal error ${end.suberror}`;
    case 'fail-entry':
      return `the CPU refused to enter the guest (reason ${hex(end.reason)})`;
    case 'run-error':
      return `KVM_RUN failed with errno ${end.errno}`;
    case 'shutdown':
      return 'the guest triple-faulted';
    case 'unknown':
      return `KVM left the guest for reason ${end.reason}, which this monitor does not know`;
    case 'system-event':
      return `KVM reported system event ${end.type}`;
    case 'hlt':
      return 'the guest halted';
    case 'device-error':
      return `a device failed at ${hex(end.address)}`;
  }
}
