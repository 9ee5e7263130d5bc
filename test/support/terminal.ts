/** The command on a terminal of its own (pty.c), as somebody who types sees it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

export class Terminal implements AsyncDisposable {
  readonly #pty: ChildProcess;
  readonly #closed: Promise<unknown>;
  /** Everything shown so far. */
  shown = '';
  /** Of the terminal: /dev/pts/N. */
  readonly path: Promise<string>;
  /** `exit N` or `signal N`, once the command has ended. */
  readonly ended: Promise<string>;

  /** @param program the compiled pty.c */
  constructor(program: string, command: readonly string[]) {
    this.#pty = spawn(program, command, {
      stdio: ['pipe', 'pipe', 'inherit', 'pipe'],
      env: { ...process.env, NODE_EXTRA_CA_CERTS: '', TERM: 'vt100' },
    });
    this.#closed = once(this.#pty, 'close');
    this.#pty.stdout!.setEncoding('latin1').on('data', (text: string) => {
      this.shown += text;
    });
    const lines = createInterface({ input: this.#pty.stdio[3] as Readable })[Symbol.asyncIterator]();
    const line = async (): Promise<string> => (await lines.next()).value as string;
    this.path = line();
    this.ended = this.path.then(line);
  }

  type(text: string): void {
    (this.#pty.stdin as Writable).write(Buffer.from(text, 'latin1'));
  }

  /** Resolves when `text` is on the screen. @throws Error with the screen after 20 s */
  async shows(text: string): Promise<void> {
    const limit = performance.now() + 20_000;
    while (!this.shown.includes(text)) {
      if (performance.now() > limit)
        throw new Error(`no ${JSON.stringify(text)} in ${JSON.stringify(this.shown)}`);
      await sleep(10);
    }
  }

  /** The terminal's settings as stty(1) writes them for itself: equal when nothing has changed. */
  async mode(): Promise<string> {
    return execFileSync('stty', ['-g', '-F', await this.path], { encoding: 'latin1' }).trim();
  }

  /** Whether one of stty's settings is on: `icanon`, `echo`, `isig`. */
  async has(setting: string): Promise<boolean> {
    const words = execFileSync('stty', ['-a', '-F', await this.path], { encoding: 'latin1' }).split(/[\s;]+/);
    if (!words.includes(setting) && !words.includes(`-${setting}`))
      throw new Error(`stty knows no ${setting}`);
    return words.includes(setting);
  }

  /** The command's process: the leader of the terminal's session. */
  async pid(): Promise<number> {
    const name = (await this.path).replace('/dev/', '');
    return Number(
      execFileSync('ps', ['-t', name, '-o', 'pid='], { encoding: 'latin1' }).trim().split('\n')[0],
    );
  }

  /** Hangs up; resolves when nothing more will be shown. */
  async hangUp(): Promise<void> {
    this.#pty.stdin!.end();
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hangUp();
  }
}
