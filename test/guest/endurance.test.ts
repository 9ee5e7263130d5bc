/**
 * What must hold for a long time: many machines one after the other, and one that is paused and resumed without end. With
 * TYPEVISOR_ENDURANCE=1 ten times as long.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { gpa } from '../../src/base/units.js';
import type { VirtualMachine } from '../../src/index.js';
import { realGuest, runToEnd } from '../support/bare.js';

const FACTOR = process.env['TYPEVISOR_ENDURANCE'] === '1' ? 10 : 1;
const BOOTS = 200 * FACTOR;
const PAUSES = 1000 * FACTOR;
/** For one test, ms: the rig takes a quarter of a second for a machine. */
const LIMIT = 240_000 * FACTOR;
const MiB = 2 ** 20;

/** What this process holds. */
const held = () => ({
  descriptors: readdirSync('/proc/self/fd').length,
  threads: readdirSync('/proc/self/task').length,
  mappings: readFileSync('/proc/self/maps', 'latin1').split('\n').length,
  resident: process.memoryUsage().rss,
});

const settled = async (condition: () => boolean): Promise<void> => {
  for (let tries = 0; tries < 3000 && !condition(); tries += 1) await sleep(10);
};

describe('a process', () => {
  it(
    `holds nothing of ${BOOTS} machines that ran in it one after the other`,
    async () => {
      const boot = async (): Promise<void> => {
        const vm = await realGuest('mov al, 7\n out 0xf4, al\n hlt', { irqchip: true });
        expect((await runToEnd(vm)).exit).toMatchObject({ reason: 'exit', code: 7 });
      };
      // Caches and pools fill in the first ones.
      for (let round = 0; round < 20; round += 1) await boot();
      const before = held();
      for (let round = 0; round < BOOTS; round += 1) {
        await boot();
        // And some that never ran.
        if (round % 4 === 0) await (await realGuest('hlt')).kill();
      }
      await settled(() => held().threads <= before.threads);
      const after = held();
      expect(after.descriptors).toBeLessThanOrEqual(before.descriptors);
      expect(after.threads).toBeLessThanOrEqual(before.threads);
      // V8 maps and unmaps as it likes; a leak would be one a machine, or pages of its memory.
      expect(after.mappings - before.mappings).toBeLessThan(BOOTS / 2);
      expect(after.resident - before.resident).toBeLessThan(48 * MiB);
    },
    LIMIT,
  );
});

/** Where the guest counts: interrupts from the other CPU on each, timer interrupts, rounds of exits. */
const COUNTERS = { first: 0x8000, second: 0x8004, timer: 0x8008, exits: 0x800c } as const;
type Counter = keyof typeof COUNTERS;

/**
 * Two CPUs in real mode that interrupt each other by x2APIC, each only when it was interrupted itself, and a timer that is set
 * again only by its own interrupt: one that is lost ends its chain for ever. The first CPU makes exits meanwhile, the second halts.
 */
const CHAINS = `
  .macro msr number, low, high=0
    mov ecx, \\number
    mov eax, \\low
    mov edx, \\high
    wrmsr
  .endm
  .macro gate vector, handler
    mov word ptr [4 * \\vector], offset \\handler
    mov word ptr [4 * \\vector + 2], 0
  .endm
  .macro enter
    push eax
    push ecx
    push edx
  .endm
  .macro leave_it
    msr 0x80b, 0           # end of interrupt
    pop edx
    pop ecx
    pop eax
    iret
  .endm
  ljmp 0, offset begin     # the second CPU comes with CS 0x100
begin:
  xor ax, ax
  mov ds, ax
  mov ss, ax
  mov sp, 0x6000
  mov ecx, 0x1b            # APIC base: x2APIC
  rdmsr
  or eax, 0xc00
  wrmsr
  mov ebx, eax
  msr 0x80f, 0x1ff         # the APIC is on
  test bh, 1               # the first CPU?
  jz second
  mov sp, 0x7000
  gate 0x40, on_first
  gate 0x41, on_second
  gate 0x42, on_timer
  msr 0x83e, 0xb           # timer: count every tick, once
  msr 0x832, 0x42
  msr 0x838, 5000000       # milliseconds: one that is always due would starve the others
  msr 0x830, 0x4500, 1     # INIT, and start-up at 0x1000
  msr 0x830, 0x4601, 1
  sti
1: in al, 0x80
  inc dword ptr [${COUNTERS.exits}]
  jmp 1b
second:
  msr 0x830, 0x4040, 0     # the first interrupt of their chain
2: sti
  hlt
  jmp 2b
on_first:
  enter
  inc dword ptr [${COUNTERS.first}]
  msr 0x830, 0x4041, 1
  leave_it
on_second:
  enter
  inc dword ptr [${COUNTERS.second}]
  msr 0x830, 0x4040, 0
  leave_it
on_timer:
  enter
  inc dword ptr [${COUNTERS.timer}]
  msr 0x838, 5000000
  leave_it`;

const count = (vm: VirtualMachine, name: Counter): number => vm.memory.readU32(gpa(COUNTERS[name]));
const counts = (vm: VirtualMachine): number[] =>
  Object.keys(COUNTERS).map((name) => count(vm, name as Counter));
/** Waits until every chain has gone on by some links. */
const goesOn = async (vm: VirtualMachine): Promise<boolean> => {
  const before = counts(vm);
  const further = (): boolean => counts(vm).every((value, index) => value >= before[index]! + 3);
  await settled(further);
  return further();
};

describe('a machine of two vCPUs', () => {
  it(
    `loses no interrupt when it is paused and resumed ${PAUSES} times`,
    async () => {
      await using vm = await realGuest(CHAINS, { cpus: 2, irqchip: true });
      await vm.start();
      expect(await goesOn(vm)).toBe(true);
      for (let round = 0; round < PAUSES; round += 1) {
        await vm.pause();
        const [first, second] = counts(vm);
        expect(Math.abs(first! - second!)).toBeLessThanOrEqual(1);
        await vm.resume();
        // Sometimes at once, sometimes after it has run for a while.
        if (round % 8 === 0) await sleep(1);
        if (round % 250 === 249) expect(await goesOn(vm), `after ${round + 1} rounds`).toBe(true);
      }
      expect(await goesOn(vm)).toBe(true);
      // Each vCPU's exits are its own: the second makes none that the monitor answers.
      const { vcpus, exits } = vm.stats();
      expect(vcpus[0]!.exits['pio']).toBeGreaterThan(0);
      expect(vcpus[1]!.exits['pio'] ?? 0).toBe(0);
      expect(exits['pio']).toBe(vcpus[0]!.exits['pio']);
    },
    LIMIT,
  );

  it('is told that it was stopped, by its clock: its watchdogs count on it', async () => {
    const [CLOCK, FLAGS, GUEST_STOPPED] = [0x9000, 29, 1 << 1]; // struct pvclock_vcpu_time_info
    const source = `
      mov ecx, 0x4b564d01     # MSR_KVM_SYSTEM_TIME_NEW
      mov eax, ${CLOCK | 1}
      xor edx, edx
      wrmsr
      1: inc dword ptr [0x8000]
      jmp 1b`;
    await using vm = await realGuest(source, { irqchip: true });
    await vm.start();
    await settled(() => count(vm, 'first') > 0);
    const flags = (): number => vm.memory.readU8(gpa(CLOCK + FLAGS));
    expect(flags() & GUEST_STOPPED).toBe(0);
    await vm.pause();
    await vm.resume();
    await settled(() => (flags() & GUEST_STOPPED) !== 0);
    expect(flags() & GUEST_STOPPED).toBe(GUEST_STOPPED);
  });
});
