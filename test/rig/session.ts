/**
 * One attempt to run a command in the rig: starts the machine, gives it the command when it is ready, relays its streams, and
 * takes everything down again. The rule: whatever ends it (exit, limit, crash, signal), no process and no file is left.
 * Runs on: main.
 */
import { existsSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child, consoleExcerpt } from './child.js';
import { type Machine, VIRTIOFSD } from './machine.js';
import { PORTS, qemuArguments, virtiofsdArguments } from './qemu.js';
import { forwardInput, Output, onLines, openPort } from './relay.js';
import { RunFolder, type TerminalSize } from './run-folder.js';

export interface SessionOptions {
  readonly machine: Machine;
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly rw: readonly string[];
  readonly cpus: number;
  readonly memoryMib: number;
  /** Limit for the command, from when the machine is ready; 0 is none. */
  readonly timeoutMs: number;
  /** How long the command may print nothing; 0 is for ever. */
  readonly silenceMs: number;
  /** Limit for the machine to become ready. */
  readonly bootTimeoutMs: number;
  readonly stdin: Readable | undefined;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly terminal: TerminalSize | undefined;
  readonly onReady: (() => void) | undefined;
  readonly signal: AbortSignal | undefined;
  readonly verbose: boolean;
  /** Hears what happens, a line at a time. */
  readonly log: (line: string) => void;
}

/** How an attempt ended. `why` may have several lines. */
export type Outcome =
  | { readonly kind: 'exit'; readonly status: number }
  | { readonly kind: 'timeout' | 'boot-failed' | 'failed'; readonly why: string };

/** How often to look whether a socket is there, ms. */
const LOOK_MS = 4;
const CONSOLE_LINES = 80;

/** @throws the signal's reason, if it aborts */
export async function attempt(options: SessionOptions): Promise<Outcome> {
  options.signal?.throwIfAborted();
  using folder = new RunFolder({
    ...options,
    modules: options.machine.modules,
    input: options.stdin !== undefined,
  });
  const session = new Session(options, folder);
  try {
    return await session.outcome();
  } finally {
    await session.end();
  }
}

class Session {
  readonly #options: SessionOptions;
  readonly #folder: RunFolder;
  readonly #children: Child[] = [];
  readonly #cleanUp: (() => void)[] = [];
  readonly #settled = deferred<Outcome>();
  readonly #stop = new AbortController();
  #ready = false;
  /** The command printed something. */
  #heard: (() => void) | undefined;

  constructor(options: SessionOptions, folder: RunFolder) {
    this.#options = options;
    this.#folder = folder;
  }

  /** Runs until the command, or something else, ends. */
  async outcome(): Promise<Outcome> {
    const { signal, bootTimeoutMs } = this.#options;
    const abort = (): void => this.#settled.reject(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    this.#cleanUp.push(() => signal?.removeEventListener('abort', abort));
    this.#limit(bootTimeoutMs, () => {
      if (!this.#ready) this.#fail(`the machine was not ready after ${bootTimeoutMs / 1000} s`);
    });
    this.#run().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.#settled.reject(error);
    });
    return this.#settled.promise;
  }

  async end(): Promise<void> {
    this.#stop.abort();
    for (const cleanUp of this.#cleanUp) cleanUp();
    await Promise.all(this.#children.map((child) => child.kill()));
  }

  async #run(): Promise<void> {
    const { machine, cpus, memoryMib, verbose, stdin, stdout, stderr, onReady, log } = this.#options;
    const file = (name: string): string => this.#folder.file(name);
    const shares = [['host', '/'], ...this.#folder.shares.map((path, index) => [`rw${index}`, path])];
    for (const [tag = '', path = ''] of shares) {
      this.#start(VIRTIOFSD, virtiofsdArguments(file(tag), path, tag === 'host'), file(`${tag}.log`));
    }
    const tags = shares.map(([tag = '']) => tag);
    await this.#appear(tags);
    log('starting the machine');
    this.#start(
      machine.qemu,
      qemuArguments({ machine, cpus, memoryMib, file, tags, verbose }),
      file('qemu.log'),
    );
    await this.#appear(PORTS);

    const port = (name: (typeof PORTS)[number]) => {
      const socket = openPort(file(name), (why) => this.#fail(why));
      this.#cleanUp.push(() => socket.destroy());
      return socket;
    };
    const heard = (): void => this.#heard?.();
    const out = new Output(port('out'), stdout, heard);
    const err = new Output(port('err'), stderr, heard);
    const input = stdin && port('in');
    const control = port('control');
    onLines(control, (line) => {
      const [word, ...rest] = line.split(' ');
      if (word === 'ready') {
        log(`the machine is ready, ${rest[0]} s after its kernel started`);
        this.#ready = true;
        onReady?.();
        this.#limitCommand();
        this.#limitSilence();
        control.write(`${this.#folder.path}\n`);
        if (stdin && input) this.#cleanUp.push(forwardInput(stdin, input));
      } else if (word === 'exit') {
        const [status = Number.NaN, outBytes = 0, errBytes = 0] = rest.map(Number);
        log(`the command ended with status ${status}`);
        void Promise.all([out.reach(outBytes), err.reach(errBytes)]).then(() =>
          this.#settled.resolve({ kind: 'exit', status }),
        );
      } else this.#fail(rest.join(' '));
    });
  }

  #start(file: string, args: readonly string[], log: string): void {
    const child = new Child(file, args, log);
    this.#children.push(child);
    void child.ended.then((how) => {
      if (how !== 'status 0') this.#fail(child.describe(how));
      else if (file === this.#options.machine.qemu) this.#fail('the machine ended before the command did');
      // A virtiofsd ends in order when QEMU does, which has the reason.
    });
  }

  /** Waits until the sockets called `names` are there. */
  async #appear(names: readonly string[]): Promise<void> {
    while (!names.every((name) => existsSync(this.#folder.file(name)))) {
      await sleep(LOOK_MS, undefined, { signal: this.#stop.signal });
    }
  }

  #limitCommand(): void {
    const { timeoutMs } = this.#options;
    if (timeoutMs === 0) return;
    this.#limit(timeoutMs, () => {
      this.#settled.resolve({ kind: 'timeout', why: `the command was killed after ${timeoutMs / 1000} s` });
    });
  }

  #limitSilence(): void {
    const { silenceMs } = this.#options;
    if (silenceMs === 0) return;
    let timer: NodeJS.Timeout | undefined;
    this.#heard = () => {
      clearTimeout(timer);
      timer = setTimeout(
        () => this.#fail(`the command printed nothing for ${silenceMs / 1000} s`),
        silenceMs,
      );
    };
    this.#heard();
    this.#cleanUp.push(() => clearTimeout(timer));
  }

  #limit(ms: number, reached: () => void): void {
    const timer = setTimeout(reached, ms);
    this.#cleanUp.push(() => clearTimeout(timer));
  }

  #fail(what: string): void {
    if (this.#stop.signal.aborted) return; // the end of what `end` killed
    const lines = consoleExcerpt(this.#folder.file('console.log'), CONSOLE_LINES);
    const console = lines.length > 0 ? ["from the machine's console:", ...lines].join('\n  ') : '';
    this.#settled.resolve({
      kind: this.#ready ? 'failed' : 'boot-failed',
      why: [what, console].filter(Boolean).join('\n'),
    });
  }
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

function deferred<T>(): Deferred<T> {
  let settle: Omit<Deferred<T>, 'promise'> | undefined;
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject };
  });
  return { promise, ...settle! };
}
