/**
 * `npm run -s rig -- [options] COMMAND…`: the rig's command. See options.ts for what it takes, rig.ts for what it does.
 * Runs on: main.
 */
import { constants } from 'node:os';
import { Progress } from '../../guest-kernels/progress.js';
import { RecipeError } from '../../guest-kernels/recipe-error.js';
import { prepareMachine } from './machine.js';
import { type CommandLine, parseCommandLine, USAGE, UsageError } from './options.js';
import { type RigStreams, rig, STATUS } from './rig.js';

/** What a shell reports for a program whose reader went away. */
const BROKEN_PIPE = 128 + constants.signals.SIGPIPE;
const USAGE_STATUS = 2;

class Interrupted extends Error {
  readonly status: number;
  constructor(status: number) {
    super('interrupted');
    this.status = status;
  }
}

const say = (line: string): void => {
  process.stderr.write(`rig: ${line}\n`);
};

async function main(args: readonly string[]): Promise<number> {
  const signal = interruption();
  try {
    const line = parseCommandLine(args);
    if (line.help) {
      process.stdout.write(USAGE);
      return 0;
    }
    const common = { signal, progress: new Progress(), kernel: line.kernel };
    const machine = await prepareMachine(common);
    if (line.verbose) say(`the machine runs Linux ${machine.release}: ${machine.kernel} on ${machine.qemu}`);
    if (line.command.length === 0) return 0;
    return await rig(line.command, streams(line), {
      ...line,
      ...common,
      log: line.verbose ? timed() : () => {},
    });
  } catch (error) {
    return explain(error);
  } finally {
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
  }
}

function streams({ stdin, tty }: CommandLine): RigStreams {
  const terminal = { rows: process.stdout.rows || 24, columns: process.stdout.columns || 80 };
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    ...(stdin || tty ? { stdin: process.stdin } : {}),
    ...(tty ? { terminal } : {}),
    onReady() {
      // Until then Ctrl-C is ours; from now on it is for the command's own terminal.
      if (tty && process.stdin.isTTY) process.stdin.setRawMode(true);
    },
  };
}

/** Aborts on the first signal, and when nobody reads the output any more. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => controller.abort(new Interrupted(128 + constants.signals[name])));
  }
  process.stdout.on('error', () => controller.abort(new Interrupted(BROKEN_PIPE)));
  process.stderr.on('error', () => controller.abort(new Interrupted(BROKEN_PIPE)));
  return controller.signal;
}

function timed(): (line: string) => void {
  const started = performance.now();
  return (line) => say(`${((performance.now() - started) / 1000).toFixed(2)} s: ${line}`);
}

function explain(error: unknown): number {
  if (error instanceof Interrupted) return error.status;
  if (error instanceof UsageError) {
    say(`${error.message}; see --help`);
    return USAGE_STATUS;
  }
  if (!(error instanceof RecipeError)) throw error;
  say(error.hint ? `${error.message} (${error.hint})` : error.message);
  return STATUS.rigFailed;
}

const status = await main(process.argv.slice(2));
// Output on its way through a pipe comes first. A standard input that was read would keep the process alive.
process.stdout.write('', () => process.stderr.write('', () => process.exit(status)));
