/**
 * `-- COMMAND`: a program in the guest as if it were this process: its input and output, its terminal, its exit code. The VM is there
 * for it and ends with it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { GuestCallError, VirtualMachine, type VmConfig } from '../index.js';
import { EXIT } from './exit-codes.js';
import { loadDevices } from './load-devices.js';
import type { CommandLine } from './parse.js';
import { runProgram, terminalSize } from './program.js';
import type { Reporter } from './reporter.js';
import { GRACE_MS, type Interrupts } from './signals.js';

/** @returns the program's exit code, 128 + N when signal N ended it, or the VM's when that ended first */
export async function runWorkload(
  line: CommandLine,
  reporter: Reporter,
  interrupts: Interrupts,
): Promise<number> {
  const { command, config } = line;
  const devices = await loadDevices(line);
  const options = { ...config, devices, agent: true, signal: interrupts.signal } as VmConfig;
  await using vm = await VirtualMachine.create(options);
  vm.on('notice', ({ message }) => reporter.notice(message));
  if (vm.nets.size > 0) (await import('./denials.js')).reportDenials(vm, reporter);
  await using _name = line.named ? await (await import('./named.js')).publishName(vm, line, true) : undefined;
  await vm.start();
  const terminal = isatty(0) && isatty(1);
  try {
    const program = await vm.spawn(command!, { pty: terminal ? terminalSize() : false });
    // The program hears of it, and has the last word, if it does not take too long for that.
    interrupts.askFirst(async () => {
      program.kill('SIGTERM');
      const ended = vm.exited.then(() => true);
      if (!(await Promise.race([ended, sleep(GRACE_MS, false, { ref: false })])))
        await vm.stop({ timeout: GRACE_MS });
    });
    const code = await runProgram(program, terminal);
    // What it wrote to disks must get there.
    if (vm.disks.size > 0) await vm.stop();
    return code;
  } catch (error) {
    if (error instanceof GuestCallError) {
      const code = error.errnoName === 'ENOENT' ? EXIT.NOT_FOUND : EXIT.NOT_EXECUTABLE;
      reporter.error(error, code);
      return code;
    }
    if (vm.state !== 'stopped' || interrupts.received) throw error;
    const info = await vm.exited;
    // A guest that has gone without its program's answer is no success.
    const code = info.code === 0 ? EXIT.SOFTWARE : info.code;
    reporter.exit(info, code, line.verbose ? vm.stats() : undefined);
    if (info.code === 0) reporter.error(error, code);
    return code;
  }
}
