/**
 * Runs the host's own tools (apt-get, dpkg-deb, make, gcc, xz). Never through a shell, never with a terminal, and never
 * beyond this process: each child gets a parent-death signal, so a killed recipe leaves no build behind.
 * Runs on: main.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { StringDecoder } from 'node:string_decoder';
import { RecipeError } from './recipe-error.js';

export interface CommandOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Bytes for the command's standard input; otherwise it reads end of file. */
  readonly input?: Uint8Array;
  /** Called with every line of standard output and standard error, without its newline. */
  readonly onLine?: (line: string) => void;
  /** Called with every line the command writes to file descriptor 3 (apt's status, make's job server is not here). */
  readonly onStatus?: (line: string) => void;
  /** Its abort kills the command; `run` rejects when that is gone. */
  readonly signal?: AbortSignal | undefined;
  /** How long it may take to end after SIGTERM before it is killed, ms. */
  readonly graceMs?: number;
  /** Exit statuses besides 0 that are an answer, not a failure. */
  readonly accept?: readonly number[];
  /** What to do if the command is missing or fails. */
  readonly hint?: string | undefined;
}

/** Lines of standard error repeated in the error of a failed command. */
const QUOTED_LINES = 12;
/** dpkg finishes the file it is at. */
const GRACE_MS = 5000;

/**
 * Runs `file` with `args` and returns its standard output.
 * @throws RecipeError if it cannot be started, ends with a status that is not accepted, or `signal` aborts it
 */
export function run(file: string, args: readonly string[], options: CommandOptions = {}): Promise<Buffer> {
  options.signal?.throwIfAborted();
  const stdio: ('ignore' | 'pipe')[] = [options.input ? 'pipe' : 'ignore', 'pipe', 'pipe'];
  if (options.onStatus) stdio.push('pipe');
  const child = spawn('setpriv', onlyChild('TERM', file, args), {
    cwd: options.cwd,
    env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive', ...options.env },
    stdio,
  });
  if (options.input) feed(child, options.input);

  const output: Buffer[] = [];
  const errors: string[] = [];
  child.stdout?.on('data', (chunk: Buffer) => output.push(chunk));
  const complain = (line: string): void => {
    errors.push(line);
    if (errors.length > QUOTED_LINES) errors.shift();
  };
  if (options.onLine) eachLine(child.stdout, options.onLine);
  eachLine(child.stderr, (line) => {
    complain(line);
    options.onLine?.(line);
  });
  if (options.onStatus) eachLine(child.stdio[3] as NodeJS.ReadableStream, options.onStatus);

  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void => {
      const quoted = errors.filter((line) => line.trim() !== '').map((line) => `\n  ${line}`);
      reject(
        new RecipeError(`${[file, ...args].join(' ')}: ${why}${quoted.join('')}`, {
          hint: options.hint,
          cause,
        }),
      );
    };
    let killer: NodeJS.Timeout | undefined;
    const abort = (): void => {
      child.kill('SIGTERM');
      killer = setTimeout(() => child.kill('SIGKILL'), options.graceMs ?? GRACE_MS);
    };
    options.signal?.addEventListener('abort', abort, { once: true });
    child.once('error', (error) => fail('cannot be started', error));
    child.once('exit', () => {
      clearTimeout(killer);
      options.signal?.removeEventListener('abort', abort);
      if (!options.signal?.aborted) return;
      // Not 'close': what the command started may hold its pipes for as long as it likes.
      for (const pipe of child.stdio) pipe?.destroy();
      reject(options.signal.reason);
    });
    child.once('close', (code, signal) => {
      if (code === 0 || (code !== null && options.accept?.includes(code))) resolve(Buffer.concat(output));
      else fail(code === null ? `killed by ${signal}` : `exit status ${code}`);
    });
  });
}

/**
 * Arguments of setpriv(1) for a program that gets `signal` when this process dies. If that happens before the signal is
 * asked for, its parent is another one by then, and it does not start at all. The shell only looks and execs.
 */
export const onlyChild = (signal: 'TERM' | 'KILL', file: string, args: readonly string[]): string[] => [
  ...['--pdeathsig', signal, '--', 'sh', '-c', 'test "$PPID" = "$0" && exec "$@"', String(process.pid)],
  ...[file, ...args],
];

/** As `run`, for text. */
export async function runText(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  return (await run(file, args, options)).toString('utf8');
}

/** Calls `visit` with each line of `stream`; carriage returns end lines too, as in progress output. */
export function eachLine(
  stream: NodeJS.ReadableStream | null | undefined,
  visit: (line: string) => void,
): void {
  if (!stream) return;
  let rest = '';
  const decoder = new StringDecoder('utf8');
  stream.on('data', (chunk: Buffer) => {
    const lines = (rest + decoder.write(chunk)).split(/\r?\n|\r/);
    rest = lines.pop() ?? '';
    for (const line of lines) visit(line);
  });
  stream.on('end', () => {
    if (rest !== '') visit(rest);
    rest = '';
  });
}

function feed(child: ChildProcess, input: Uint8Array): void {
  // A command may stop reading early (xz after its stream): what it did not want is no error of ours.
  child.stdin?.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') child.emit('error', error);
  });
  child.stdin?.end(input);
}
