/** The guest's agent as a process of this host, behind a Unix socket; and its client. */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent } from '../../src/agent/agent.js';
import { VmmError } from '../../src/base/errors.js';
import { compileC } from './compile.js';

/** The agent's sources. */
export const SOURCES = join(import.meta.dirname, '../../native/agent');
/** As guests get it, with its own little C library. */
export const BUILT = join(import.meta.dirname, '../../dist/guest-agent');

/** Where this host's agents make their control groups; undefined where they cannot. */
export const GROUPS = ((): string | undefined => {
  const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'latin1'))?.[1];
  if (own === undefined || process.getuid?.() !== 0) return undefined;
  const folders = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].map((root) => `${root}${own}`);
  return folders.find((path) => existsSync(join(path, 'cgroup.procs')) && mayMakeIn(path));
})();

function mayMakeIn(folder: string): boolean {
  const probe = join(folder, `typevisor-probe-${process.pid}`);
  try {
    mkdirSync(probe);
  } catch {
    return false;
  }
  const able = existsSync(join(probe, 'cgroup.kill'));
  rmdirSync(probe);
  return able;
}

/** What was killed takes a moment to be gone. */
function removeGroup(path: string): void {
  for (let tries = 0; ; tries += 1) {
    try {
      rmdirSync(path);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || tries === 500) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

export class HostAgent implements Disposable {
  /** For the test as well; removed with everything in it. */
  readonly folder = mkdtempSync(join(tmpdir(), 'typevisor-agent-'));
  readonly process: ChildProcess;
  readonly agent = new Agent(() => this.dial());
  readonly #path = join(this.folder, 'agent.sock');

  /** @param program an agent, or the flags with which one is made that sanitizers watch, with this host's C library */
  constructor(program: string | readonly string[] = []) {
    const path = typeof program === 'string' ? program : this.#compile(program);
    this.process = spawn(path, [this.#path], { stdio: ['ignore', 'inherit', 'inherit'] });
  }

  #compile(own: readonly string[]): string {
    const [first, ...more] = readdirSync(SOURCES)
      .filter((name) => name.endsWith('.c'))
      .map((name) => join(SOURCES, name));
    const flags = ['-Os', '-Wextra', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
    return compileC(first!, join(this.folder, 'agent'), [...more, ...flags, ...own]);
  }

  /** A connection to it. @throws VmmError ERR_VSOCK_REFUSED while it does not listen yet */
  dial(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ path: this.#path, allowHalfOpen: true });
      socket.once('connect', () => resolve(socket));
      socket.once('error', (error) => reject(new VmmError('ERR_VSOCK_REFUSED', error.message)));
    });
  }

  /** Control groups that it has made. */
  groups(): string[] {
    const own = `typevisor-${this.process.pid}-`;
    if (GROUPS === undefined) return [];
    return readdirSync(GROUPS)
      .filter((name) => name.startsWith(own))
      .map((name) => join(GROUPS!, name));
  }

  [Symbol.dispose](): void {
    this.process.kill('SIGKILL');
    // In a guest they end with the machine.
    for (const group of this.groups()) {
      writeFileSync(join(group, 'cgroup.kill'), '1');
      removeGroup(group);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Whether a process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

/** Resolves with whether it ended within two seconds. */
export async function gone(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 100 && isAlive(pid); tries += 1) await sleep(20);
  return !isAlive(pid);
}
