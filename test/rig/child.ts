/**
 * The rig's own processes: QEMU and one virtiofsd per shared folder. Each is in a session of its own, so Ctrl-C reaches only
 * the rig, and each gets a parent-death signal, so that nothing outlives the rig, however it ends.
 * Runs on: main.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { onlyChild } from '../../guest-kernels/command.js';

export class Child {
  readonly #process: ChildProcess;
  readonly #log: string;
  readonly #name: string;
  /** Settles when the process is gone, with words for it: `status 1`, `killed by SIGKILL`. */
  readonly ended: Promise<string>;

  /** Starts `file`; what it prints goes to the file `log`. */
  constructor(file: string, args: readonly string[], log: string) {
    this.#name = basename(file);
    this.#log = log;
    const output = openSync(log, 'w');
    this.#process = spawn('setpriv', onlyChild('KILL', file, args), {
      stdio: ['ignore', output, output],
      detached: true,
    });
    closeSync(output);
    this.ended = new Promise((resolve) => {
      this.#process.once('error', (error) => resolve(`cannot be started: ${error.message}`));
      this.#process.once('exit', (code, signal) =>
        resolve(signal ? `killed by ${signal}` : `status ${code}`),
      );
    });
  }

  /** `qemu-system-x86_64: status 1` and the end of what it printed. */
  describe(how: string): string {
    return [`${this.#name}: ${how}`, ...lastLines(this.#log, 5)].join('\n  ');
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.ended;
  }
}

/** Where the reason is, on the console of a machine that failed; a register dump follows. */
const REASON = /rig: |Kernel panic|BUG: |Oops|Out of memory|general protection/;

/**
 * The lines of a machine's console that say why it failed, and its last ones: of a fault upon a fault upon a fault the kernel
 * prints the first one last.
 */
export function consoleExcerpt(path: string, count: number): string[] {
  const lines = lastLines(path, Number.POSITIVE_INFINITY);
  const reason = lines.findIndex((line) => REASON.test(line));
  if (reason < 0 || lines.length - reason <= count) return lines.slice(-count);
  const first = Math.ceil(count / 3);
  return [...lines.slice(reason, reason + first), '…', ...lines.slice(first - count)];
}

/** The last lines of a file, none if it is not there. */
function lastLines(path: string, count: number): string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '')
    .slice(-count);
}
