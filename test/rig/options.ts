/**
 * The rig's command line. Options end at the first word that is none: the rest is the command, with its own options.
 * Runs on: main.
 */
import { resolve } from 'node:path';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { RIG_KERNELS, type RigKernel } from './machine.js';

export const USAGE = `usage: npm run -s rig -- [options] [--] COMMAND [ARGUMENT...]

Runs COMMAND as root in an emulated machine (QEMU, AMD SVM with nested paging) that has a real /dev/kvm. It sees this
host's root file system; what it changes there stays in the machine's memory and is lost, except below --rw folders.

  --rw DIR        DIR is read-write inside (repeatable)
  --cwd DIR       working directory inside (default: this one)
  --env K=V       set a variable, besides this environment (repeatable)
  --stdin         forward standard input (default: none)
  --tty           give COMMAND a terminal of its own, connected to this one, which is raw meanwhile
  --timeout SEC   kill COMMAND after SEC seconds (default: 300, with --tty none; 0 is none)
  --silence SEC   give up when COMMAND has printed nothing for SEC seconds: the machine hangs (default: 0, never)
  --kernel NAME   the machine's own kernel: ${RIG_KERNELS.join(' or ')} (default: ${RIG_KERNELS[0]})
  --memory MIB    the machine's memory (default: 2048)
  --cpus N        the machine's CPUs (default: 2)
  --prepare       prepare the machine, run nothing
  --verbose       say on standard error what the rig does and when
  --help          print this

Exit status: COMMAND's; 128+N if signal N killed it; 124 if the time was up; 125 if the rig itself failed;
2 if this command line is wrong. The first run downloads and prepares the machine (about 30 MB), later ones do not.
`;

export interface CommandLine {
  readonly command: readonly string[];
  readonly rw: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: boolean;
  readonly tty: boolean;
  /** seconds */
  readonly timeout: number;
  /** seconds */
  readonly silence: number;
  readonly kernel: RigKernel;
  readonly memoryMib: number;
  readonly cpus: number;
  readonly prepare: boolean;
  readonly verbose: boolean;
  readonly help: boolean;
}

/** A command line that makes no sense. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const OPTIONS = {
  rw: { type: 'string', multiple: true, default: [] },
  env: { type: 'string', multiple: true, default: [] },
  cwd: { type: 'string', default: '.' },
  timeout: { type: 'string' },
  silence: { type: 'string', default: '0' },
  kernel: { type: 'string', default: RIG_KERNELS[0] },
  memory: { type: 'string', default: '2048' },
  cpus: { type: 'string', default: '2' },
  stdin: { type: 'boolean', default: false },
  tty: { type: 'boolean', default: false },
  prepare: { type: 'boolean', default: false },
  verbose: { type: 'boolean', short: 'v', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} satisfies ParseArgsConfig['options'];

/** @throws UsageError */
export function parseCommandLine(args: readonly string[]): CommandLine {
  const end = endOfOptions(args);
  const command = args.slice(args[end] === '--' ? end + 1 : end);
  const values = parseStrictly(args.slice(0, end));
  const kernel = RIG_KERNELS.find((name) => name === values.kernel);
  if (!kernel)
    throw new UsageError(`--kernel ${values.kernel}: the kernels are ${RIG_KERNELS.join(' and ')}`);
  if (command.length === 0 && !values.prepare && !values.help) throw new UsageError('a command is missing');
  return {
    ...values,
    command,
    kernel,
    rw: values.rw.map((folder) => resolve(folder)),
    cwd: resolve(values.cwd),
    env: Object.fromEntries(values.env.map(variable)),
    timeout: wholeNumber('timeout', values.timeout ?? (values.tty ? '0' : '300'), 0, 86_400),
    silence: wholeNumber('silence', values.silence, 0, 86_400),
    memoryMib: wholeNumber('memory', values.memory, 512, 65_536),
    cpus: wholeNumber('cpus', values.cpus, 1, 16),
  };
}

function endOfOptions(args: readonly string[]): number {
  const { tokens } = parseArgs({ args: [...args], options: OPTIONS, strict: false, tokens: true });
  const end = tokens.find(({ kind }) => kind !== 'option');
  return end?.index ?? args.length;
}

function parseStrictly(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS }).values;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // ERR_PARSE_ARGS_*
    throw new UsageError(error.message);
  }
}

function variable(text: string): [name: string, value: string] {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`--env ${text}: it must be NAME=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function wholeNumber(option: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new UsageError(`--${option} ${text}: it must be a whole number from ${least} to ${most}`);
}
