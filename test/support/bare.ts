/** Bare guests as virtual machines, for tests of what a guest can do without a kernel. */
import { type ExitInfo, VirtualMachine, type VmConfig } from '../../src/index.js';
import { LONG, long, real } from './assemble.js';

type Options = Omit<VmConfig, 'kernel' | 'flat'> & { readonly irqchip?: boolean };

/** A real-mode guest of one MiB, not started. */
export const realGuest = (
  source: string,
  { irqchip = false, ...rest }: Options = {},
): Promise<VirtualMachine> =>
  VirtualMachine.create({ memory: '1M', ...rest, kernel: real(source), flat: { irqchip } });

/** A long-mode guest of 2 MiB, not started. */
export const longGuest = (
  source: string,
  { irqchip = false, ...rest }: Options = {},
): Promise<VirtualMachine> =>
  VirtualMachine.create({ memory: '2M', ...rest, kernel: long(source), flat: { ...LONG, irqchip } });

/** Everything the guest wrote to its console, and how it ended. */
export async function runToEnd(vm: VirtualMachine): Promise<{ output: string; exit: ExitInfo }> {
  await using _ = vm;
  const chunks: Buffer[] = [];
  vm.serial.on('data', (chunk: Buffer) => chunks.push(chunk));
  const ended = new Promise((resolve) => vm.serial.once('end', resolve));
  await vm.start();
  const exit = await vm.exited;
  await ended;
  return { output: Buffer.concat(chunks).toString('latin1'), exit };
}

export const SPIN = '1: jmp 1b';
/** Counts at 0x8000 for ever. */
export const COUNT = '1: inc dword ptr [0x8000]\n jmp 1b';
