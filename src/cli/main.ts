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

async function dispatch(args: readonly string[]): Promise<number> {
  const own = ownArguments(args);
  if (own.includes('--version') || own.includes('-V')) {
    process.stdout.write(`typevisor ${version()}\n`);
    return 0;
  }
  if (args[0] === 'doctor') {
    const { doctorCommand } = await import('./doctor.js');
    return doctorCommand(args.slice(1));
  }
  if (args[0] === 'inspect') {
    const { inspectCommand } = await import('./inspect.js');
    return inspectCommand(args.slice(1));
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
