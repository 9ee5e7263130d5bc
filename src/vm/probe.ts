/**
 * Tiny guests that show what this host's KVM does with an instruction: each runs alone in a VM of its own, because an
 * emulator that meets what it does not know ends the VM.
 * Runs on: main.
 */
import { Resources } from '../base/resources.js';
import { gpa, MiB } from '../base/units.js';
import { planFlat, writeFlatTables } from '../boot/flat.js';
import { EXIT_PORT, exitPort } from '../devices/legacy/small.js';
import type { CpuidEntry } from '../kvm/kvm.js';
import { describeEnd } from './crash.js';
import { Machine } from './machine.js';

/** Above the tables of long mode, below the data of the probes. */
const CODE = gpa(0x1_0000);
// 0x2_0000 is a page of zeros, for instructions that want an operand.
/** Where the INT3 probe keeps its IDT's pseudo-descriptor and the IDT. */
const IDT_POINTER = gpa(0x2_1000);
const IDT = 0x2_2000;
/** No probe runs for more than microseconds of its own. */
const LIMIT_MS = 2000;
/** What a probe exits with when it got to its end. */
export const PASSED = 42;
/** CPUID 1 ECX. */
const POPCNT = 1 << 23;

export interface Probe {
  readonly mode: 'real' | 'long';
  /** Machine code, hexadecimal, an instruction a line with its source. */
  readonly code: string;
  /** Offset of an INT3 handler in the code. */
  readonly handler?: number;
  readonly expect: number;
  readonly cpuid?: (leaves: readonly CpuidEntry[]) => readonly CpuidEntry[];
}

const EXIT_PASSED = `
  b8 2a 00 00 00           # mov  eax, 42
  e7 f4                    # out  0xf4, eax
  f4                       # hlt`;

export const PROBES = {
  real: {
    mode: 'real',
    code: `
      b0 2a                # mov  al, 42
      e6 f4                # out  0xf4, al
      f4                   # hlt`,
    expect: PASSED,
  },
  long: { mode: 'long', code: EXIT_PASSED, expect: PASSED },
  // A feature, not a name: a KVM was seen that passes on a changed brand string but not a hidden feature.
  cpuid: {
    mode: 'long',
    code: `
      b8 01 00 00 00       # mov  eax, 1
      0f a2                # cpuid
      89 c8                # mov  eax, ecx
      c1 e8 17             # shr  eax, 23: POPCNT
      83 e0 01             # and  eax, 1
      83 c0 2a             # add  eax, 42
      e7 f4                # out  0xf4, eax
      f4                   # hlt`,
    expect: PASSED,
    cpuid: (leaves) =>
      leaves.map((leaf) => (leaf.function === 1 ? { ...leaf, ecx: (leaf.ecx & ~POPCNT) >>> 0 } : leaf)),
  },
  cmpxchg16b: {
    mode: 'long',
    code: `
      bf 00 00 02 00       # mov  edi, OPERAND
      f0 48 0f c7 0f       # lock cmpxchg16b [rdi]
      ${EXIT_PASSED}`,
    expect: PASSED,
  },
  popcnt: {
    mode: 'long',
    code: `
      b9 ff 03 00 00       # mov  ecx, 0x3ff
      f3 0f b8 c1          # popcnt eax, ecx
      83 c0 20             # add  eax, 32
      e7 f4                # out  0xf4, eax
      f4                   # hlt`,
    expect: PASSED,
  },
  xrstor: {
    mode: 'long',
    code: `
      0f 20 e0             # mov  rax, cr4
      0d 00 00 04 00       # or   eax, CR4.OSXSAVE
      0f 22 e0             # mov  cr4, rax
      bf 00 00 02 00       # mov  edi, OPERAND: an empty XSAVE area
      31 c0                # xor  eax, eax
      31 d2                # xor  edx, edx
      0f ae 2f             # xrstor [rdi]
      ${EXIT_PASSED}`,
    expect: PASSED,
  },
  int3: {
    mode: 'long',
    code: `
      bf 00 10 02 00       # mov  edi, IDT_POINTER
      0f 01 1f             # lidt [rdi]
      cc                   # int3
      f4                   # hlt
      ${EXIT_PASSED}`,
    handler: 10,
    expect: PASSED,
  },
} as const satisfies Readonly<Record<string, Probe>>;

export type ProbeName = keyof typeof PROBES;

/** Machine code in hexadecimal; `#` begins a comment. */
export const assemble = (code: string): Uint8Array =>
  Uint8Array.from(code.replace(/#.*$/gm, '').match(/[0-9a-f]{2}/g) ?? [], (byte) =>
    Number.parseInt(byte, 16),
  );

/**
 * @returns undefined when the guest did what it should, else what happened instead
 * @throws HostError when no VM can be made at all
 */
export async function runProbe(probe: Probe): Promise<string | undefined> {
  const code = assemble(probe.code);
  const ram = [{ base: gpa(0), size: 2 * MiB }];
  const plan = planFlat(code.length, { load: CODE, entry: CODE, mode: probe.mode }, ram);
  const cpu = probe.cpuid && { adjust: probe.cpuid };
  using resources = new Resources();
  const machine = resources.use(new Machine({ ram, pages: 'default', cpus: 1, irqchip: false, cpu }));
  const { memory } = machine.ram;
  memory.write(CODE, code);
  writeFlatTables(memory, plan);
  if (probe.handler !== undefined) writeInterruptGate(machine, CODE + probe.handler);
  machine.prepare(plan.entry);
  return await new Promise<string | undefined>((resolve) => {
    const timer = setTimeout(() => end('the guest never came to its end'), LIMIT_MS);
    const end = (result: string | undefined): void => {
      clearTimeout(timer);
      machine.halt();
      resolve(result);
    };
    const onExit = (value: number): void =>
      end(value === probe.expect ? undefined : `the guest saw ${value}, not ${probe.expect}`);
    machine.pio.claim(EXIT_PORT, 4, 'exit', exitPort(onExit));
    machine.onEnd = (_vcpu, reason) => end(describeEnd(reason));
    machine.start();
  });
}

/** A 64-bit interrupt gate for vector 3 (SDM vol. 3 §6.14.1) and the pseudo-descriptor that LIDT reads. */
function writeInterruptGate({ ram: { memory } }: Machine, handler: number): void {
  const SELECTOR = 0x10n;
  const PRESENT_INTERRUPT_GATE = 0x8e00n;
  const low = BigInt(handler & 0xffff) | (SELECTOR << 16n) | (PRESENT_INTERRUPT_GATE << 32n);
  memory.writeU64(gpa(IDT + 3 * 16), low | (BigInt(handler >>> 16) << 48n));
  memory.writeU64(gpa(IDT + 3 * 16 + 8), 0n);
  const pointer = new DataView(new ArrayBuffer(10));
  pointer.setUint16(0, 4 * 16 - 1, true);
  pointer.setBigUint64(2, BigInt(IDT), true);
  memory.write(IDT_POINTER, new Uint8Array(pointer.buffer));
}
