/**
 * The command's entry. What answers at once comes first; the monitor is loaded only by what needs it.
 * Runs on: main.
 */
import { readFileSync } from 'node:fs';
import { ownArguments } from './own-arguments.js';

/** Never returns normally: ends the process with the command's exit code. */
export async function main(args: readonly string[]): Promise<void> {
  const code = await dispatch(args);
  // Errors on their way through a pipe come first; a reader that went away does not matter any more.
  process.stderr.on('error', () => process.exit(code));
  process.stderr.write('', () => process.exit(code));
}

/** What does something else than run a VM. */
const SUBCOMMANDS: Readonly<Record<string, (args: readonly string[]) => Promise<number>>> = {
  doctor: async (args) => (await import('./doctor.js')).doctorCommand(args),
  inspect: async (args) => (await import('./inspect.js')).inspectCommand(args),
  ls: async (args) => (await import('./ls.js')).lsCommand(args),
  exec: async (args) => (await import('./exec.js')).execCommand(args),
  cp: async (args) => (await import('./cp.js')).cpCommand(args),
  stop: async (args) => (await import('./stop.js')).stopCommand(args),
};

async function dispatch(args: readonly string[]): Promise<number> {
  const [first = '', ...rest] = args;
  if (Object.hasOwn(SUBCOMMANDS, first)) return SUBCOMMANDS[first]!(rest);
  const own = ownArguments(args);
  if (own.includes('--version') || own.includes('-V')) {
    process.stdout.write(`typevisor ${version()}\n`);
    return 0;
  }
  const { runCommand } = await import('./run.js');
  return runCommand(args);
}

/** The bundle has it built in. */
function version(): string {
  const built = process.env.TYPEVISOR_VERSION;
  if (built !== undefined) return built;
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
