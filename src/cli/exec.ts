/**
 * `node vmm.js exec NAME -- COMMAND`: a program in a VM that runs elsewhere, as if it were this process: its input and output, its
 * terminal, its signals, its exit code.
 */
import { isatty } from 'node:tty';
import { connectMachine, GuestCallError } from '../index.js';
import { codeOfSignal, EXIT } from './exit-codes.js';
import { runProgram, terminalSize } from './program.js';
import { type Given, runSubcommand } from './subcommand.js';
import { EXEC } from './subcommands.js';
import { UsageError } from './usage-error.js';

/** What the program is told of; SIGKILL and SIGSTOP cannot be. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;
/** So many of them that should end it: then we end, and with our connection the program is killed. */
const PATIENCE = 3;

/** @returns the program's exit code, 128 + N when signal N ended it */
export const execCommand = (args: readonly string[]): Promise<number> =>
  runSubcommand(EXEC, args, async ({ given, operands }) => {
    const [name, ...rest] = operands;
    const command = rest[0] === '--' ? rest.slice(1) : rest;
    const see = { hint: 'try exec --help' };
    if (name === undefined) throw new UsageError('which VM? exec NAME -- COMMAND', see);
    if (command.length === 0) throw new UsageError(`what to run? exec ${name} -- COMMAND`, see);
    const env = environment(given.get('env') ?? []);
    const machine = await connectMachine(name);
    const terminal = given.has('no-tty') ? false : isatty(0) && isatty(1);
    const { TERM } = process.env;
    const program = await machine.spawn(command, {
      pty: terminal ? terminalSize() : false,
      env: { ...(terminal && TERM && { TERM }), ...env },
      ...last(given, 'cwd'),
      ...last(given, 'user'),
    });
    using _signals = passSignals((signal) => program.kill(signal));
    try {
      return await runProgram(program, terminal);
    } catch (error) {
      if (!(error instanceof GuestCallError)) throw error;
      process.stderr.write(`vmm: exec: ${error.message}\n`);
      return error.errnoName === 'ENOENT' ? EXIT.NOT_FOUND : EXIT.NOT_EXECUTABLE;
    }
  });

function last(given: Given, key: string): Readonly<Record<string, string>> {
  const value = given.get(key)?.at(-1);
  return value === undefined ? {} : { [key]: value };
}

/** `KEY=VALUE`, or `KEY` for ours, if we have it. @throws UsageError */
export function environment(
  settings: readonly string[],
  ours: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string> {
  const entries = settings.flatMap((text): [string, string][] => {
    const at = text.indexOf('=');
    if (at === 0) throw new UsageError(`--env: "${text}" has no name: KEY=VALUE`);
    if (at > 0) return [[text.slice(0, at), text.slice(at + 1)]];
    const value = ours[text];
    return value === undefined ? [] : [[text, value]];
  });
  return Object.fromEntries(entries);
}

function passSignals(pass: (signal: NodeJS.Signals) => void): Disposable {
  let endings = 0;
  const handlers = SIGNALS.map((name) => {
    const handler = (): void => {
      if (!name.startsWith('SIGUSR')) endings += 1;
      if (endings >= PATIENCE) process.exit(codeOfSignal(name));
      pass(name);
    };
    process.on(name, handler);
    return [name, handler] as const;
  });
  return {
    [Symbol.dispose]() {
      for (const [name, handler] of handlers) process.off(name, handler);
    },
  };
}
