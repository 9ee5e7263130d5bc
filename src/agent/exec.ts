/**
 * A program from its start to its end, with what it wrote.
 * Runs on: main.
 */
import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { VmmError } from '../base/errors.js';
import type { GuestProcess, ProcessEnd, TerminalSize } from './guest-process.js';

/** Output kept, bytes, of each stream, unless said otherwise. */
const MAX_BUFFER = 16 * 2 ** 20;

/** How a program in the guest is started. */
export interface SpawnOptions {
  /** Variables besides PATH and HOME, which have defaults. */
  readonly env?: Readonly<Record<string, string>>;
  /** Its folder; `/` unless given. */
  readonly cwd?: string;
  /** A name, `uid` or `uid:gid`; root unless given. */
  readonly user?: string;
  /** With a terminal, of this size or of 24 lines of 80. */
  readonly pty?: boolean | TerminalSize;
  /** Its abort kills the program with all that it started. */
  readonly signal?: AbortSignal;
}

/** How `vm.exec` runs a program. */
export interface ExecOptions extends Omit<SpawnOptions, 'pty'> {
  /** What it reads; nothing unless given. */
  readonly stdin?: string | Uint8Array | Readable;
  /** How long it may take, ms, with the wait for the agent; then it is killed with all that it started, and `exec` fails with ERR_TIMEOUT. */
  readonly timeout?: number;
  /** Whether an end by a signal or with another code than 0 is an error (ERR_EXEC). */
  readonly check?: boolean;
  /** Bytes of each stream; a program that writes more is killed, and `exec` fails with ERR_EXEC. 16 MiB unless given. */
  readonly maxBuffer?: number;
}

/** What became of a program. */
export interface ExecResult extends ProcessEnd {
  /** It ended by itself, with 0. */
  readonly ok: boolean;
  /** What it wrote, as UTF-8. */
  readonly stdout: string;
  /** Its errors, as UTF-8. */
  readonly stderr: string;
  /** What it wrote, as it is. */
  readonly stdoutBytes: Buffer;
  /** Its errors, as they are. */
  readonly stderrBytes: Buffer;
  /** From its start to its end, ms. */
  readonly durationMs: number;
}

/** A program failed (ERR_EXEC), or took too long (ERR_TIMEOUT); `result` has what it wrote until then. */
export class ExecError extends VmmError {
  constructor(
    code: 'ERR_EXEC' | 'ERR_TIMEOUT',
    message: string,
    readonly result: ExecResult,
  ) {
    super(code, message, result.stderr === '' ? {} : { hint: result.stderr.trimEnd().slice(-500) });
  }
}

/** @param name of the program, for messages @throws ExecError, or the signal's reason, when the program has been killed and is gone */
export async function execute(
  name: string,
  process: GuestProcess,
  options: ExecOptions,
): Promise<ExecResult> {
  const { stdin, timeout, check = false, maxBuffer = MAX_BUFFER, signal } = options;
  const started = performance.now();
  let stopped: 'timeout' | 'abort' | 'output' | undefined;
  const stop = (why: typeof stopped): void => {
    if (stopped) return;
    stopped = why;
    void process[Symbol.asyncDispose]();
  };
  const timer = timeout === undefined ? undefined : setTimeout(() => stop('timeout'), timeout);
  const onAbort = (): void => stop('abort');
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  const collected = [process.stdout, process.stderr].map((stream) =>
    collect(stream, maxBuffer, () => stop('output')),
  );
  if (stdin instanceof Readable) stdin.on('error', () => process.stdin.end()).pipe(process.stdin);
  else process.stdin.end(stdin);
  try {
    // A program that was killed may be one whose end cannot be told any more: what it wrote still counts.
    const end = await process.exited.catch((error: unknown) => {
      if (stopped) return { exitCode: null, signal: 'SIGKILL' as const };
      throw error;
    });
    await Promise.all([finished(process.stdout), finished(process.stderr)]);
    const [stdoutBytes, stderrBytes] = collected.map((parts) => Buffer.concat(parts)) as [Buffer, Buffer];
    const result: ExecResult = {
      ...end,
      ok: end.exitCode === 0,
      ...{ stdout: stdoutBytes.toString(), stderr: stderrBytes.toString(), stdoutBytes, stderrBytes },
      durationMs: performance.now() - started,
    };
    if (stopped === 'abort') throw signal!.reason;
    if (stopped === 'timeout')
      throw new ExecError('ERR_TIMEOUT', `${name} ran for ${timeout! / 1000} s`, result);
    if (stopped === 'output')
      throw new ExecError('ERR_EXEC', `${name} wrote more than ${maxBuffer} bytes`, result);
    if (check && !result.ok) throw new ExecError('ERR_EXEC', `${name} ${described(end)}`, result);
    return result;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

const described = ({ exitCode, signal }: ProcessEnd): string =>
  signal ? `was ended by ${signal}` : `ended with code ${exitCode}`;

/** Keeps up to `limit` bytes, and goes on reading, so that the program can end. */
function collect(stream: Readable, limit: number, onLimit: () => void): Buffer[] {
  const chunks: Buffer[] = [];
  let length = 0;
  stream.on('data', (chunk: Buffer) => {
    const part = chunk.subarray(0, limit - length);
    if (part.length > 0) chunks.push(part);
    length += part.length;
    if (part.length < chunk.length) onLimit();
  });
  return chunks;
}
