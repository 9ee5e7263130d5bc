/**
 * `-- COMMAND`: a program in the guest as if it were this process: its input and output, its terminal, its exit code. The VM is there
 * for it and ends with it.
 */
import { constants } from 'node:os';
import { isatty } from 'node:tty';
import { GuestCallError, type GuestProcess, VirtualMachine, type VmConfig } from '../index.js';
import { codeOfSignal, EXIT } from './exit-codes.js';
import { loadDevices } from './load-devices.js';
import type { CommandLine } from './parse.js';
import type { Reporter } from './reporter.js';
import type { Interrupts } from './signals.js';
import { connectOutput } from './stdio.js';

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
  await vm.start();
  const terminal = isatty(0) && isatty(1);
  try {
    const pty = terminal ? sizeOf(process.stdout) : false;
    const program = await vm.spawn(command!, { pty });
    using _terminal = terminal ? followTerminal(program) : undefined;
    const written = Promise.all([
      connectOutput(program.stdout, process.stdout),
      connectOutput(program.stderr, process.stderr),
    ]);
    const broken = written.then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error,
    );
    process.stdin.on('error', () => program.stdin.end()).pipe(program.stdin);
    const { exitCode, signal } = await program.exited;
    process.stdin.unpipe(program.stdin).pause();
    const error = await broken;
    if (error?.code === 'EPIPE') return codeOfSignal('SIGPIPE');
    if (error) throw error;
    // What it wrote to disks must get there.
    if (vm.disks.size > 0) await vm.stop();
    return signal ? 128 + constants.signals[signal] : (exitCode ?? EXIT.SOFTWARE);
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

const sizeOf = ({ rows, columns }: NodeJS.WriteStream) => ({ rows: rows || 24, columns: columns || 80 });

/** Every key goes to the program, whose terminal is as large as ours. */
function followTerminal(program: GuestProcess): Disposable {
  const { stdin, stdout } = process;
  const follow = (): void => program.resize(sizeOf(stdout));
  const restore = (): void => void stdin.setRawMode(false);
  stdin.setRawMode(true);
  process.once('exit', restore);
  stdout.on('resize', follow);
  return {
    [Symbol.dispose]() {
      stdout.off('resize', follow);
      process.off('exit', restore);
      restore();
    },
  };
}
