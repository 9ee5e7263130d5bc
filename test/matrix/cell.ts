/** One cell of the matrix: a guest with some vCPUs that boots here, counts them, and ends; or why it does not. Runs on: main. */
import { readFileSync } from 'node:fs';
import { withScript } from '../../guest-kernels/initramfs.js';
import { type ExitInfo, VirtualMachine, type VmConfig, VmmError } from '../../src/index.js';
import { real } from '../support/assemble.js';

/** A kind of guest; a flat one has no files. */
export interface MatrixGuest {
  readonly name: string;
  readonly kernel?: string;
  readonly initrd?: string;
}
export interface Cell {
  readonly guest: string;
  readonly cpus: number;
  /** Absent when all is as it should be. */
  readonly problem?: string;
  /** From `start()` to the end, ms. */
  readonly ms?: number;
}

export const CPUS: readonly number[] = [1, 2, 4];
/** For one cell, ms: an emulated kernel with more vCPUs than there are CPUs is slow. */
const LIMIT = 150_000;

export async function tryCell(guest: MatrixGuest, cpus: number): Promise<Cell> {
  const cell = { guest: guest.name, cpus };
  try {
    const config = guest.kernel === undefined ? flat(cpus) : linux(guest.kernel, guest.initrd!, cpus);
    await using vm = await VirtualMachine.create({ ...config, cpus, timeouts: { run: LIMIT } });
    let console = '';
    vm.serial.on('data', (chunk: Buffer) => {
      console += chunk.toString('latin1');
    });
    const ended = new Promise((resolve) => vm.serial.once('end', resolve));
    const started = performance.now();
    await vm.start();
    const exit = await vm.exited;
    const ms = performance.now() - started;
    await ended;
    const problem = problemOf(exit, guest.kernel === undefined ? cpus : undefined, console);
    return problem === undefined ? { ...cell, ms } : { ...cell, problem };
  } catch (error) {
    if (!(error instanceof VmmError)) throw error;
    return { ...cell, problem: error.message };
  }
}

/** @param code a flat guest's exit code; a Linux guest says how it went on its console */
function problemOf(exit: ExitInfo, code: number | undefined, console: string): string | undefined {
  if (code !== undefined) return exit.reason === 'exit' && exit.code === code ? undefined : exit.message;
  if (console.includes('typevisor: exit 0')) return undefined;
  return /typevisor: saw (\d+) CPUs/.exec(console)?.[0] ?? exit.message;
}

const linux = (kernel: string, initrd: string, cpus: number): VmConfig => ({
  kernel,
  initrd: withScript(
    readFileSync(initrd),
    `n=$(nproc); [ "$n" = ${cpus} ] && exit 0; echo "typevisor: saw $n CPUs"; exit 1\n`,
  ),
  memory: '256M',
  cmdline: 'quiet',
});

/** The first vCPU starts the others, each of which counts itself; it ends with their number and one. */
const flat = (cpus: number): VmConfig => ({
  kernel: real(`
    ljmp 0, offset begin    # the others come with CS 0x100
  begin:
    xor ax, ax
    mov ds, ax
    mov ecx, 0x1b
    rdmsr
    or eax, 0xc00           # x2APIC
    wrmsr
    test ah, 1              # the first one?
    jz other
    mov ecx, 0x80f
    mov eax, 0x1ff
    xor edx, edx
    wrmsr
    mov ecx, 0x830
    mov eax, 0xc4500        # INIT to all others, then start-up at 0x1000
    wrmsr
    mov eax, 0xc4601
    wrmsr
  1: mov eax, [0x8000]
    inc eax
    cmp eax, ${cpus}
    jne 1b
    out 0xf4, eax
    hlt
  other:
    lock inc dword ptr [0x8000]
    cli
  2: hlt
    jmp 2b`),
  flat: { irqchip: true },
  memory: '1M',
});
