/**
 * The agent in the guest, as the VM reaches it: over connections to its port, one for each request.
 * Runs on: main.
 */
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { VmmError } from '../base/errors.js';
import { type ExecOptions, type ExecResult, execute, type SpawnOptions } from './exec.js';
import { text, u8, u32, u64 } from './frames.js';
import { GuestFiles } from './guest-files.js';
import { GuestPorts } from './guest-ports.js';
import { GuestProcess } from './guest-process.js';
import { PORT, REQUEST, VERSION } from './protocol.js';
import { AgentSession } from './session.js';

/** How long a guest may take to boot and start its agent, ms. */
const READY_MS = 120_000;
/**
 * Between two tries, ms, twice as long each time: the guest's kernel answers at once when its agent is not there yet, and a guest that
 * is slow must not be kept busy with that.
 */
const FIRST_RETRY_MS = 10;
const LAST_RETRY_MS = 500;
/** How long an agent that took the connection may at least take for its welcome, ms. */
const LEAST_PATIENCE_MS = 1000;
/** The shortest pause after which the guest is told the time, ms; how long that may take, ms; how far the guest's clock may be from ours, ms: its own NTP is not disturbed. */
const LONG_PAUSE_MS = 1000;
const CLOCK_MS = 10_000;
const CLOCK_MAY_BE_WRONG_MS = 500;
const DEFAULT_SIZE = { rows: 24, columns: 80 };

/** How long an agent may take that nobody has met yet before a guest is ended without it, ms. */
const MEET_MS = 2000;

/** A connection to a port of the guest. @throws VmmError ERR_VSOCK_REFUSED when nobody listens there yet */
export type Connect = (port: number, options: { timeout: number; signal?: AbortSignal }) => Promise<Duplex>;

export interface AgentWait {
  readonly timeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

function killOnAbort(process: GuestProcess, signal: AbortSignal): void {
  const kill = (): void => process.killAll();
  if (signal.aborted) kill();
  signal.addEventListener('abort', kill, { once: true });
  const forget = (): void => signal.removeEventListener('abort', kill);
  process.exited.then(forget, forget);
}

export class Agent {
  readonly files: GuestFiles;
  readonly ports: GuestPorts;
  #ready = false;

  /** @param patience how long the guest may take to boot and start it, ms, unless a call says otherwise */
  constructor(
    private readonly connect: Connect,
    private readonly patience = READY_MS,
  ) {
    this.files = new GuestFiles(
      (signal) => this.#open({ signal }, signal),
      (argv, options) => this.spawn(argv, options),
    );
    this.ports = new GuestPorts((wait) => this.#open(wait));
  }

  /** Somebody else has met it: it can be asked to power off. */
  met(): void {
    this.#ready = true;
  }

  /** Resolves when the agent answers. @returns what it is: `agent 1` @throws VmmError ERR_AGENT, ERR_GUEST_EXIT, the signal's reason */
  async ready(wait: AgentWait = {}): Promise<string> {
    const session = await this.#open(wait);
    try {
      // Anything will do that it answers.
      await session.request('stat /', REQUEST.STAT, u8(1), text('/'));
      return `agent ${VERSION}`;
    } finally {
      session.close();
    }
  }

  async spawn(command: string | readonly string[], options: SpawnOptions): Promise<GuestProcess> {
    const { env = {}, cwd = '', user = '', pty = false, signal } = options;
    const argv = typeof command === 'string' ? ['/bin/sh', '-c', command] : command;
    if (argv.length === 0) throw new VmmError('ERR_VMM_CONFIG', 'no program to run');
    const session = await this.#open({ signal });
    try {
      const size = pty === true ? DEFAULT_SIZE : pty === false ? undefined : pty;
      const process = new GuestProcess(session, { argv, env, cwd, user, pty: size });
      if (signal) killOnAbort(process, signal);
      return process;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  async exec(command: string | readonly string[], options: ExecOptions): Promise<ExecResult> {
    const began = performance.now();
    const { timeout, signal } = options;
    const limit = timeout === undefined ? undefined : AbortSignal.timeout(timeout);
    const waiting = limit && signal ? AbortSignal.any([limit, signal]) : (limit ?? signal);
    const name = typeof command === 'string' ? command : (command[0] ?? '');
    let process: GuestProcess;
    try {
      process = await this.spawn(command, { ...options, ...(waiting && { signal: waiting }) });
    } catch (error) {
      if (!limit?.aborted || signal?.aborted) throw error;
      throw new VmmError('ERR_TIMEOUT', `${name} could not be started within ${timeout! / 1000} s`);
    }
    const left = timeout === undefined ? {} : { timeout: Math.max(1, timeout - (performance.now() - began)) };
    return execute(name, process, { ...options, ...left });
  }

  /** The guest ran on after a pause. A clock that counts with what wraps meanwhile is late after a long one; then it is set. */
  async wasPaused(ms: number): Promise<void> {
    if (ms >= LONG_PAUSE_MS) await this.setClock();
  }

  /** Sets the guest's wall clock by this host's if it is wrong, and if its agent has ever answered. */
  async setClock(): Promise<void> {
    if (!this.#ready) return;
    try {
      const session = await this.#open({ timeout: CLOCK_MS });
      try {
        const now = BigInt(Date.now()) * 1_000_000n;
        await session.request('set the clock', REQUEST.CLOCK, u64(now), u32(CLOCK_MAY_BE_WRONG_MS));
      } finally {
        session.close();
      }
    } catch (error) {
      // One that does not do it, or is older than this, leaves the guest's time to the guest.
      if (!(error instanceof VmmError)) throw error;
    }
  }

  /**
   * Has the guest write everything down and switch itself off, if its agent has ever answered, or is `expected` and does soon. Resolves when
   * it is off, at once when nobody can be asked, or after `timeout` ms.
   */
  async askToPowerOff(off: Promise<unknown>, timeout: number, expected: boolean): Promise<void> {
    if (!this.#ready && !expected) return;
    try {
      const session = await this.#open({ timeout: this.#ready ? timeout : Math.min(timeout, MEET_MS) });
      const over = Promise.race([off, sleep(timeout, undefined, { ref: false })]);
      await Promise.race([
        session.request('power off', REQUEST.POWEROFF, u32(Math.floor(timeout / 2))),
        over,
      ]);
      await over;
      session.close();
    } catch (error) {
      // An agent that does not do it leaves it to the power button.
      if (!(error instanceof VmmError)) throw error;
    }
  }

  /**
   * The first connection waits for the guest to boot; later ones only for the agent's answer.
   * @param bound its abort ends the session as well, not only the wait for it
   */
  async #open(wait: AgentWait = {}, bound?: AbortSignal): Promise<AgentSession> {
    const { timeout = this.patience, signal } = wait;
    const end = performance.now() + timeout;
    for (let retry = FIRST_RETRY_MS; ; retry = Math.min(2 * retry, LAST_RETRY_MS)) {
      try {
        const left = Math.max(1, end - performance.now());
        const connection = await this.connect(PORT, { timeout: left, ...(signal && { signal }) });
        this.#ready = true;
        const patience = Math.max(LEAST_PATIENCE_MS, end - performance.now());
        return new AgentSession(connection, { patience, signal: bound });
      } catch (error) {
        const { code } = error as VmmError;
        if (code !== 'ERR_VSOCK_REFUSED' && code !== 'ERR_TIMEOUT') throw error;
        if (code === 'ERR_TIMEOUT' || performance.now() + retry >= end) throw this.#missing(timeout, error);
        await sleep(retry, undefined, signal && { signal });
      }
    }
  }

  #missing(timeout: number, cause: unknown): VmmError {
    const what = this.#ready ? 'does not answer any more' : 'did not answer';
    return new VmmError('ERR_AGENT', `the guest's agent ${what} within ${timeout / 1000} s`, {
      hint: 'let `agent: true` bring one, or start one in the guest',
      cause,
    });
  }
}
