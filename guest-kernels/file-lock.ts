/**
 * A lock between processes: flock(2) held by a helper process that waits for its standard input to end. The kernel
 * drops the lock when the helper dies, and the helper's input ends when this process does, however it dies; so there is
 * no stale lock to detect, no pid to trust, and it works across containers that share the file.
 * Runs on: main.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { dirname } from 'node:path';
import { RecipeError } from './recipe-error.js';

/** How long a lock must be busy before the caller hears of it, ms. */
const PATIENCE_MS = 250;

export interface LockOptions {
  /** Called once if the lock is held by someone else; `holder` is what that holder wrote, e.g. `pid 1234`. */
  readonly onWait?: (holder: string) => void;
  readonly signal?: AbortSignal | undefined;
}

export class FileLock implements AsyncDisposable {
  readonly #helper: ChildProcess;

  private constructor(helper: ChildProcess) {
    this.#helper = helper;
  }

  /** Waits for the lock at `path` (a file, created if missing, never removed). @throws RecipeError, or the signal's reason */
  static async acquire(path: string, options: LockOptions = {}): Promise<FileLock> {
    options.signal?.throwIfAborted();
    try {
      mkdirSync(dirname(path), { recursive: true });
    } catch (cause) {
      throw cannotLock(path, cause);
    }
    // A session of its own: Ctrl-C must not drop the lock before this process has cleaned up.
    const helper = spawn('flock', ['--no-fork', path, 'sh', '-c', 'echo locked; exec cat > /dev/null'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
    });
    const patience = setTimeout(() => options.onWait?.(holderOf(path)), PATIENCE_MS);
    const abort = (): void => void helper.kill('SIGKILL');
    options.signal?.addEventListener('abort', abort, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        helper.stdout?.once('data', () => resolve());
        helper.once('error', (cause) => reject(new RecipeError('flock cannot be started', { cause })));
        helper.once('close', () =>
          reject(options.signal?.aborted ? options.signal.reason : new RecipeError(`cannot lock ${path}`)),
        );
      });
    } finally {
      clearTimeout(patience);
      options.signal?.removeEventListener('abort', abort);
    }
    const lock = new FileLock(helper);
    try {
      writeFileSync(path, `pid ${process.pid}`);
    } catch (cause) {
      await lock[Symbol.asyncDispose]();
      throw cannotLock(path, cause);
    }
    lock.#keepAlive(false);
    return lock;
  }

  /** Gives the lock back; resolves when another may have it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#helper.exitCode !== null || this.#helper.signalCode !== null) return;
    this.#keepAlive(true);
    const closed = new Promise((resolve) => this.#helper.once('close', resolve));
    this.#helper.stdin?.end();
    await closed;
  }

  /** Whether the helper keeps this process's event loop alive; a lock that is merely held must not. */
  #keepAlive(yes: boolean): void {
    const method = yes ? 'ref' : 'unref';
    this.#helper[method]();
    for (const pipe of [this.#helper.stdin, this.#helper.stdout]) (pipe as Socket | null)?.[method]();
  }
}

function cannotLock(path: string, cause: unknown): RecipeError {
  return new RecipeError(`cannot lock ${path}: ${(cause as NodeJS.ErrnoException).code}`, { cause });
}

function holderOf(path: string): string {
  try {
    return readFileSync(path, 'utf8') || 'another process';
  } catch {
    return 'another process'; // the file appears when the lock is first taken: only the message is poorer
  }
}
