/** The guest's agent as a process of this host, checked by sanitizers, behind a Unix socket; and its client. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent } from '../../src/agent/agent.js';
import { VmmError } from '../../src/base/errors.js';
import { compileC } from './compile.js';

/** The agent's sources. */
export const SOURCES = join(import.meta.dirname, '../../native/agent');

export class HostAgent implements Disposable {
  /** For the test as well; removed with everything in it. */
  readonly folder = mkdtempSync(join(tmpdir(), 'typevisor-agent-'));
  readonly process: ChildProcess;
  readonly agent = new Agent(() => this.dial());
  readonly #path = join(this.folder, 'agent.sock');

  constructor() {
    const [first, ...more] = readdirSync(SOURCES)
      .filter((name) => name.endsWith('.c'))
      .map((name) => join(SOURCES, name));
    const flags = ['-Os', '-Wextra', '-fsanitize=address,undefined'];
    const program = compileC(first!, join(this.folder, 'agent'), [...more, ...flags]);
    this.process = spawn(program, [this.#path], { stdio: ['ignore', 'inherit', 'inherit'] });
  }

  /** A connection to it. @throws VmmError ERR_VSOCK_REFUSED while it does not listen yet */
  dial(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ path: this.#path, allowHalfOpen: true });
      socket.once('connect', () => resolve(socket));
      socket.once('error', (error) => reject(new VmmError('ERR_VSOCK_REFUSED', error.message)));
    });
  }

  [Symbol.dispose](): void {
    this.process.kill('SIGKILL');
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
