/**
 * Runs commands in the rig: an emulated machine that has a real /dev/kvm, on the host's own root file system. For the command
 * line (main.ts), tests and scripts. A wedged machine and a hang of what is tested look alike: there is always a limit, a test
 * may be repeated only when the rig's own codes say so, and every repeat is counted.
 * Runs on: main.
 */
import { statSync } from 'node:fs';
import { Readable, Writable } from 'node:stream';
import type { CacheOptions } from '../../guest-kernels/cache.js';
import { RecipeError } from '../../guest-kernels/recipe-error.js';
import { prepareMachine, type RigKernel, rigObstacle } from './machine.js';
import type { TerminalSize } from './run-folder.js';
import { attempt, type Outcome } from './session.js';

/** The rig's own exit codes, as timeout(1) and docker(1) have them. */
export const STATUS = { timeout: 124, rigFailed: 125 } as const;

export interface RigOptions extends Pick<CacheOptions, 'root' | 'progress' | 'signal'> {
  /** Series of the machine's own kernel; 6.1 unless said otherwise. */
  readonly kernel?: RigKernel;
  readonly cpus?: number;
  readonly memoryMib?: number;
  /** Limit for the command, seconds from when the machine is ready; 300 unless said otherwise, 0 is none. */
  readonly timeout?: number;
  /** How long the command may print nothing before the machine counts as failed, seconds; for ever, unless given. */
  readonly silence?: number;
  /** Limit for the machine's start, seconds; 30 unless said otherwise. */
  readonly bootTimeout?: number;
  /** Folders that are read-write inside; changes to all others stay inside and are lost. */
  readonly rw?: readonly string[];
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Hears what the rig does, a line at a time. */
  readonly log?: (line: string) => void;
  /** More of the machine's console in its log. */
  readonly verbose?: boolean;
}

export interface RigStreams {
  readonly stdin?: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Runs the command on a terminal of this size; both its outputs are then `stdout`. */
  readonly terminal?: TerminalSize;
  /** The machine is up and about to run the command. */
  readonly onReady?: () => void;
}

export interface RigResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** How often the command was run again because the rig failed or the limit was reached. */
  readonly repeats: number;
}

/** Whether this host can run the rig, once it is prepared. `rigObstacle` says why not. */
export function rigAvailable(): boolean {
  return rigObstacle() === undefined;
}

/**
 * Runs `command` with the given streams and returns its exit status: the command's own, 128+N if signal N killed it, 124 for
 * the limit, 125 if the rig failed; the last two are explained on `stderr`. A machine that does not start is tried once more.
 * @throws RecipeError if the rig cannot be prepared; the signal's reason
 */
export async function rig(
  command: readonly string[],
  streams: RigStreams,
  options: RigOptions = {},
): Promise<number> {
  const { log = () => {} } = options;
  for (const folder of [...(options.rw ?? []), options.cwd ?? '.']) {
    if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
      throw new RecipeError(`there is no folder ${folder}`, { hint: 'create it before the rig starts' });
    }
  }
  const machine = await prepareMachine(options);
  const once = (): Promise<Outcome> =>
    attempt({
      machine,
      command,
      cwd: options.cwd ?? process.cwd(),
      env: { ...process.env, TYPEVISOR_RIG: '1', ...options.env },
      rw: options.rw ?? [],
      cpus: options.cpus ?? 2,
      memoryMib: options.memoryMib ?? 2048,
      timeoutMs: (options.timeout ?? 300) * 1000,
      silenceMs: (options.silence ?? 0) * 1000,
      bootTimeoutMs: (options.bootTimeout ?? 30) * 1000,
      stdin: streams.stdin,
      stdout: streams.stdout,
      stderr: streams.stderr,
      terminal: streams.terminal,
      onReady: streams.onReady,
      signal: options.signal,
      verbose: options.verbose ?? false,
      log,
    });
  let outcome = await once();
  if (outcome.kind === 'boot-failed') {
    log(`${outcome.why}\nstarting it once more`);
    outcome = await once();
  }
  if (outcome.kind === 'exit') return outcome.status;
  streams.stderr.write(`rig: ${outcome.why.replaceAll('\n', '\nrig: ')}\n`);
  return outcome.kind === 'timeout' ? STATUS.timeout : STATUS.rigFailed;
}

/**
 * Runs `command` in the rig and returns what it printed. It is run again, once, if the rig failed or the limit was reached,
 * and `repeats` says so: the caller prints it.
 * @throws RecipeError if the rig cannot be prepared; the signal's reason
 */
export async function runInRig(
  command: readonly string[],
  options: RigOptions & { readonly input?: string | Uint8Array } = {},
): Promise<RigResult> {
  for (let repeats = 0; ; repeats += 1) {
    const [stdout, stderr] = [new Collector(), new Collector()];
    const stdin = options.input === undefined ? {} : { stdin: Readable.from([Buffer.from(options.input)]) };
    const status = await rig(command, { ...stdin, stdout, stderr }, options);
    const ours = status === STATUS.timeout || status === STATUS.rigFailed;
    if (!ours || repeats === 1) return { status, stdout: stdout.text, stderr: stderr.text, repeats };
    options.log?.(`status ${status}: running it once more`);
  }
}

class Collector extends Writable {
  readonly #chunks: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#chunks.push(chunk);
    done();
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}
