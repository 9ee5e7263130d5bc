/** What a vCPU holds before its first instruction beyond the boot protocol's registers, as the guest itself finds it. */
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { describe, expect, it } from 'vitest';
import { gpa } from '../../src/base/units.js';
import type { VirtualMachine } from '../../src/index.js';
import { realGuest, runToEnd } from '../support/bare.js';

/** Emulated and busy hosts take seconds for a guest, ms. */
const LIMIT = 90_000;

/** Where CPU n leaves what it found: n × 0x400 further. */
const FOUND = 0x8000;
const STEP = 0x400;
/** 16 bytes of it each: an MSR's number, nothing, its value. */
const MSRS = {
  MTRR_CAP: 0xfe,
  MTRR_DEF_TYPE: 0x2ff,
  MISC_ENABLE: 0x1a0,
  SYSENTER_CS: 0x174,
  SYSENTER_ESP: 0x175,
  SYSENTER_EIP: 0x176,
  STAR: 0xc000_0081,
  LSTAR: 0xc000_0082,
  CSTAR: 0xc000_0083,
  SYSCALL_MASK: 0xc000_0084,
  KERNEL_GS_BASE: 0xc000_0102,
  LINT0: 0x835,
  LINT1: 0x836,
} as const;
/** FXSAVE's area (SDM vol. 1 table 10-2), behind them. */
const FX = 0x200;
const [FCW, FSW, MXCSR] = [0, 2, 24];

/** Both CPUs run this from the start, the second as soon as the first, which waits for it, has started it. */
const LOOK = `
  ljmp 0, offset begin       # the second CPU comes with CS 0x100
begin:
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov sp, 0x7000
  mov ecx, 0x1b              # APIC base: x2APIC
  rdmsr
  or eax, 0xc00
  wrmsr
  mov bp, ax                 # bit 8: the first CPU
  mov di, ${FOUND}
  test bp, 0x100
  jnz look
  mov di, ${FOUND + STEP}
look:
  mov eax, cr4
  or eax, 0x200              # OSFXSR
  mov cr4, eax
  fxsave [di + ${FX}]
  mov si, offset numbers
1: mov ecx, [si]
  jecxz done
  rdmsr
  mov [di], ecx
  mov [di + 8], eax
  mov [di + 12], edx
  add si, 4
  add di, 16
  jmp 1b
done:
  test bp, 0x100
  jz other
  mov ecx, 0x80f
  mov eax, 0x1ff             # the APIC is on
  xor edx, edx
  wrmsr
  mov ecx, 0x830
  mov eax, 0xc4500           # INIT to all others, then start-up at 0x1000
  wrmsr
  mov eax, 0xc4601
  wrmsr
2: cmp dword ptr [0x7ff0], 1
  jne 2b
  mov al, 1
  out 0xf4, al
  hlt
other:
  mov dword ptr [0x7ff0], 1
3: hlt
  jmp 3b
  .balign 4
numbers:
  .long ${Object.values(MSRS).join(', ')}, 0`;

const msrOf = (vm: VirtualMachine, cpu: number, name: keyof typeof MSRS): bigint => {
  const at = FOUND + cpu * STEP + 16 * Object.keys(MSRS).indexOf(name);
  expect(vm.memory.readU32(gpa(at)), name).toBe(MSRS[name]);
  return BigInt(vm.memory.readU32(gpa(at + 8))) | (BigInt(vm.memory.readU32(gpa(at + 12))) << 32n);
};

describe('before their first instruction', { timeout: LIMIT }, () => {
  it('all vCPUs have the state that boot protocols and kernels count on', async () => {
    await using vm = await realGuest(LOOK, { cpus: 2, irqchip: true });
    await vm.start();
    expect(await vm.exited).toMatchObject({ reason: 'exit', code: 1 });
    for (const cpu of [0, 1]) {
      // SDM vol. 3 §12.11.2.1: MTRRs on, write-back where none says otherwise.
      expect(msrOf(vm, cpu, 'MTRR_DEF_TYPE') & 0xcffn).toBe(0x806n);
      expect(msrOf(vm, cpu, 'MTRR_CAP')).not.toBe(0n);
      expect(msrOf(vm, cpu, 'MISC_ENABLE') & 1n).toBe(1n); // fast strings
      for (const name of ['SYSENTER_CS', 'SYSENTER_ESP', 'SYSENTER_EIP', 'STAR', 'LSTAR', 'CSTAR'] as const)
        expect(msrOf(vm, cpu, name), name).toBe(0n);
      for (const name of ['SYSCALL_MASK', 'KERNEL_GS_BASE'] as const)
        expect(msrOf(vm, cpu, name), name).toBe(0n);
      // SDM vol. 3 table 9-1: as after FNINIT, SSE exceptions masked.
      const fx = FOUND + cpu * STEP + FX;
      expect(vm.memory.readU16(gpa(fx + FCW))).toBe(0x37f);
      expect(vm.memory.readU16(gpa(fx + FSW))).toBe(0);
      expect(vm.memory.readU32(gpa(fx + MXCSR))).toBe(0x1f80);
    }
    // MP 1.4 §3.6.2.2, virtual wire: the PIC and the NMI reach the first CPU (the others' INIT masks them).
    expect(msrOf(vm, 0, 'LINT0')).toBe(0x700n);
    expect(msrOf(vm, 0, 'LINT1')).toBe(0x400n);
  });

  it("AMD's CPUs say that the TSC counts at the P0 frequency, where it is invariant and KVM lets them", async () => {
    const source = `
      mov eax, 0
      cpuid
      cmp ebx, 0x68747541        # "Auth"
      jne no
      mov eax, 0x80000007
      cpuid
      test edx, 0x100            # invariant TSC
      jz no
      mov ecx, 0xc0010015
      rdmsr
      shr eax, 24
      and eax, 1
      out 0xf4, al
      hlt
    no: mov al, 2
      out 0xf4, al
      hlt`;
    const { exit } = await runToEnd(await realGuest(source, { irqchip: true }));
    const [major = 0, minor = 0] = release().split('.').map(Number);
    // Linux 6.7 is the first whose KVM takes the bit.
    const takes = major > 6 || (major === 6 && minor >= 7);
    expect(exit.code).toBeOneOf([takes ? 1 : 0, 2]);
    if (existsSync('/sys/module/kvm_intel')) expect(exit.code).toBe(2);
  });
});
