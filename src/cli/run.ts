/** `node vmm.js --kernel …`: one VM in the foreground, from the command line to the exit code. */
import { isatty } from 'node:tty';
import { VirtualMachine, type VmConfig, VmmError } from '../index.js';
import { codeOfError, codeOfSignal, EXIT } from './exit-codes.js';
import { helpText } from './help.js';
import { loadDevices } from './load-devices.js';
import { ownArguments } from './own-arguments.js';
import { type CommandLine, parseCommandLine } from './parse.js';
import { jsonReporter, type Reporter, textReporter } from './reporter.js';
import { GRACE_MS, Interrupts } from './signals.js';
import { connectInput, connectOutput } from './stdio.js';
import { UsageError } from './usage-error.js';

const AGENT_FOR_NAME =
  "the guest's first process is the agent, for exec and cp, instead of its own (--no-agent leaves it that)";

/** @returns the exit code */
export async function runCommand(args: readonly string[]): Promise<number> {
  let reporter: Reporter = ownArguments(args).includes('--json') ? jsonReporter() : textReporter({});
  using interrupts = new Interrupts();
  try {
    const line = parseCommandLine(args);
    if (line.help) {
      process.stdout.write(helpText(process.stdout.columns));
      return EXIT.OK;
    }
    if (!line.json) reporter = textReporter(line);
    if (line.config['kernel'] === undefined) throw new UsageError('no kernel: --kernel PATH is required');
    if (line.command) {
      const { runWorkload } = await import('./workload.js');
      return await runWorkload(line, reporter, interrupts);
    }
    return await runVm(line, reporter, interrupts);
  } catch (error) {
    if (interrupts.received) return codeOfSignal(interrupts.received);
    const code = codeOfError(error);
    reporter.error(error, code);
    return code;
  }
}

async function runVm(line: CommandLine, reporter: Reporter, interrupts: Interrupts): Promise<number> {
  const devices = await loadDevices(line);
  const config = { ...line.config, devices, signal: interrupts.signal } as VmConfig;
  await using vm = await VirtualMachine.create(config);
  // The virtio console repeats what the serial port said before it was there.
  const terminal = vm.console ?? vm.serial;
  await using _name = line.named
    ? await (await import('./named.js')).publishName(vm, line, config.agent === true)
    : undefined;
  vm.on('notice', ({ message }) => reporter.notice(message));
  if (vm.nets.size > 0) (await import('./denials.js')).reportDenials(vm, reporter);
  if (line.agentForName) reporter.notice(AGENT_FOR_NAME);
  let left = false;
  let broken: NodeJS.ErrnoException | undefined;
  // Before the streams: the guest starts while Node loads them. What it writes meanwhile waits.
  await vm.start();
  let asked = false;
  interrupts.askFirst(() => {
    asked = true;
    return vm.stop({ timeout: GRACE_MS });
  });
  using _resizes = followSize(vm);
  let disconnect = (): void => {};
  const connect = (): void => {
    disconnect = connectInput(terminal, process.stdin, () => {
      left = true;
      void vm.kill();
    });
  };
  // A terminal is raw before it shows anything. Other input comes after what the guest did meanwhile: one that has
  // ended already needs none.
  const connecting = isatty(0) ? undefined : setImmediate(connect);
  if (!connecting) connect();
  const written = connectOutput(terminal, process.stdout).catch((error: NodeJS.ErrnoException) => {
    broken = error;
    void vm.kill();
  });
  try {
    const info = await vm.exited;
    clearImmediate(connecting);
    const stats = line.verbose ? vm.stats() : undefined;
    // Whoever interrupts does not wait for a reader that may never read.
    if (!interrupts.received) await Promise.race([written, interrupted(interrupts)]);
    disconnect();
    if (vm.serialDropped > 0) {
      reporter.notice(`${vm.serialDropped} bytes of console output were dropped: nobody read them in time`);
    }
    // What it has not written is lost, and whoever asked wants to know. Flat guests have nothing to write.
    if (asked && info.reason === 'killed' && config.flat === undefined) reporter.notice(info.message);
    const code = exitCode();
    if (broken && broken.code !== 'EPIPE') {
      const why = new VmmError('ERR_VMM_HOST', `cannot write the console: ${broken.message}`);
      reporter.error(why, code);
    } else reporter.exit(info, code, stats);
    return code;

    function exitCode(): number {
      if (interrupts.received) return codeOfSignal(interrupts.received);
      // As a shell tells it of a program that ran into a closed pipe.
      if (broken) return broken.code === 'EPIPE' ? codeOfSignal('SIGPIPE') : EXIT.IO;
      return left ? codeOfSignal('SIGINT') : info.code;
    }
  } finally {
    disconnect();
  }
}

/** The guest's terminal is as large as ours. */
function followSize({ console }: VirtualMachine): Disposable {
  const { stdout } = process;
  const follow = (): void => {
    if (console && stdout.columns > 0 && stdout.rows > 0) console.resize(stdout.columns, stdout.rows);
  };
  follow();
  stdout.on('resize', follow);
  return { [Symbol.dispose]: () => void stdout.off('resize', follow) };
}

const interrupted = (interrupts: Interrupts): Promise<void> =>
  new Promise((resolve) => interrupts.signal.addEventListener('abort', () => resolve(), { once: true }));
