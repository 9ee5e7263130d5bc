import { describe, expect, it } from 'vitest';
import { gpa } from '../../../src/base/units.js';
import { structs } from '../../../src/kvm/abi.js';
import type { KvmRegs, KvmSregs } from '../../../src/kvm/kvm.js';
import { GuestMemory } from '../../../src/memory/guest-memory.js';
import type { VcpuEnd } from '../../../src/vcpu/loop.js';
import { crashReport, describeEnd, describeRegisters } from '../../../src/vm/crash.js';

const regs = (values: Partial<KvmRegs>): KvmRegs => structs.kvm_regs.decode(structs.kvm_regs.encode(values));
const sregs = (values: Parameters<typeof structs.kvm_sregs.encode>[0]): KvmSregs =>
  structs.kvm_sregs.decode(structs.kvm_sregs.encode(values));
const LONG = { cs: { selector: 0x10, l: 1, base: 0x999n }, cr0: 0x8000_0033n, efer: 0x500n };
const REAL = { cs: { selector: 0xf000, base: 0xf_0000n } };

describe('registers', () => {
  it('are a line each, RIP first, sixteen digits', () => {
    const lines = describeRegisters(regs({ rip: 0x10_0000n, rax: 2n ** 64n - 1n, r15: 5n }), sregs(LONG));
    expect(lines[0]).toBe('RIP    0x0000000000100000');
    expect(lines).toContain('RAX    0xffffffffffffffff');
    expect(lines).toContain('R15    0x0000000000000005');
    expect(lines).toContain('CS     0x10 base 0x999 64-bit, CPL 0');
    expect(lines).toContain('CR0    0x0000000080000033');
    expect(lines).toContain('EFER   0x0000000000000500');
    expect(new Set(lines.map((line) => line.split(' ')[0])).size).toBe(lines.length);
    expect(lines).toHaveLength(18 + 1 + 5);
  });

  it('tell the mode and the privilege level', () => {
    const cs = (values: Parameters<typeof sregs>[0]) =>
      describeRegisters(regs({}), sregs(values)).find((line) => line.startsWith('CS'));
    expect(cs(REAL)).toBe('CS     0xf000 base 0xf_0000 16-bit, CPL 0');
    expect(cs({ cs: { selector: 0x23, db: 1 }, ss: { dpl: 3 } })).toBe('CS     0x23 base 0x0 32-bit, CPL 3');
  });
});

describe('a crash report', () => {
  /** A vCPU whose memory is mapped by `translate`. */
  const report = (
    values: Partial<KvmRegs>,
    special: Parameters<typeof sregs>[0],
    translate: (linear: bigint) => number | undefined,
  ) => {
    const ram = Uint8Array.from({ length: 0x3000 }, (_, index) => index & 0xff);
    const vcpu = {
      getRegs: () => regs(values),
      getSregs: () => sregs(special),
      translate: (linear: bigint) => {
        const at = translate(linear);
        return at === undefined ? undefined : gpa(at);
      },
    };
    return crashReport('it crashed', vcpu, GuestMemory.over(ram), 'the tail');
  };
  const identity = (linear: bigint): number => Number(linear);

  it('has no registers when the vCPU has been reset: they are not those of the crash', () => {
    const reset = report({ rip: 0xfff0n }, { cs: { selector: 0xf000, base: 0xffff_0000n } }, identity);
    expect(reset).toEqual({
      summary: 'it crashed',
      registers: [],
      instruction: undefined,
      consoleTail: 'the tail',
    });
    expect(report({ rip: 0xfff0n }, REAL, identity).registers).toHaveLength(24);
  });

  it('has the bytes at the instruction pointer', () => {
    const { summary, consoleTail, instruction } = report({ rip: 0x1010n }, LONG, identity);
    expect({ summary, consoleTail }).toEqual({ summary: 'it crashed', consoleTail: 'the tail' });
    expect([...instruction!]).toEqual(Array.from({ length: 15 }, (_, index) => 0x10 + index));
  });

  it('counts from the code segment’s base but in 64-bit mode', () => {
    const seen: bigint[] = [];
    const note = (linear: bigint): undefined => void seen.push(linear);
    report({ rip: 0x10n }, { cs: { base: 0x2000n } }, note);
    report({ rip: 0x10n }, { cs: { base: 0x2000n, l: 1 } }, note);
    expect(seen).toEqual([0x2010n, 0x10n]);
  });

  it('goes through the guest’s page tables, and no further than the page', () => {
    const { instruction } = report({ rip: 0xffff_ffff_8100_0ffan }, LONG, () => 0x1ffa);
    expect([...instruction!]).toEqual([0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff]);
  });

  it('does without when nothing is mapped there, or no RAM', () => {
    expect(report({ rip: 0x1000n }, LONG, () => undefined).instruction).toBeUndefined();
    expect(report({ rip: 0x1000n }, LONG, () => 0xc000_0000).instruction).toBeUndefined();
  });

  it('has a copy: guest memory may be gone when it is read', () => {
    const { instruction } = report({ rip: 0n }, LONG, identity);
    expect(instruction!.buffer.byteLength).toBe(15);
  });
});

describe('an end in words', () => {
  it.each<[string, VcpuEnd]>([
    ['the guest halted', { kind: 'hlt' }],
    ['the guest triple-faulted', { kind: 'shutdown' }],
    ['KVM could not emulate an instruction', { kind: 'internal-error', suberror: 1, data: [] }],
    ['KVM internal error 77', { kind: 'internal-error', suberror: 77, data: [] }],
    ['the CPU refused to enter the guest (reason 0x8000_0021)', { kind: 'fail-entry', reason: 0x8000_0021n }],
    ['KVM_RUN failed with errno 14', { kind: 'run-error', errno: 14 }],
    ['KVM left the guest for reason 99, which this monitor does not know', { kind: 'unknown', reason: 99 }],
    ['KVM reported system event 2', { kind: 'system-event', type: 2 }],
    ['a device failed at 0xc000_1000', { kind: 'device-error', error: new Error('x'), address: 0xc000_1000 }],
  ])('%s', (words, end) => expect(describeEnd(end)).toBe(words));
});
