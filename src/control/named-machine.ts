/**
 * A VM of another process of the same user, found by its name: what it is, its end, programs and files in it.
 * Runs on: main.
 */
import { readdir } from 'node:fs/promises';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Agent } from '../agent/agent.js';
import type { ExecOptions, ExecResult, SpawnOptions } from '../agent/exec.js';
import type { GuestFiles } from '../agent/guest-files.js';
import type { GuestProcess } from '../agent/guest-process.js';
import { VmmError } from '../base/errors.js';
import { nearest } from '../base/nearest.js';
import { checkName, nameOfSocket, runtimeFolder, socketPath } from './folder.js';
import { encodeRequest, type Fields, LINE_MS, parseAnswer, type Request, readLine } from './protocol.js';
import type { MachineEnd } from './server.js';
import { connectTo, isGone, removeHidden, removeStale } from './socket.js';

/** How long `listMachines` waits for a monitor that does not answer, ms. */
const LIST_MS = 2000;
/** How long a guest may take for an agent that it has to start by itself, ms. */
const OWN_AGENT_MS = 10_000;

/** What a VM's monitor says of it. */
export interface MachineInfo {
  /** Its name. */
  readonly name: string;
  /** The monitor's process. */
  readonly pid: number;
  /** `running`, `paused`, … */
  readonly state: string;
  /** When it was started, ms since 1970. */
  readonly began: number;
  /** Whether programs can be run in it: it was `given` an agent, the guest may have one (`possible`), or `none`. */
  readonly agent: 'given' | 'possible' | 'none';
  /** What runs in it, for people: a kernel's path, a command. */
  readonly runs: string;
}

/** A VM of another process, made by `connectMachine`. Its methods fail with ERR_NO_VM when that has ended meanwhile. */
export class NamedMachine {
  /** What it said when it was found. */
  readonly info: MachineInfo;
  readonly #path: string;
  readonly #agent: Agent;

  /** Made by `connectMachine`. */
  constructor(path: string, info: MachineInfo) {
    this.#path = path;
    this.info = info;
    const connect = (_port: number, options: { timeout: number; signal?: AbortSignal }): Promise<Duplex> =>
      this.#connectAgent(options);
    this.#agent = new Agent(connect, info.agent === 'given' ? undefined : OWN_AGENT_MS);
  }

  /** Starts a program in the guest, as `VirtualMachine.spawn`. */
  async spawn(command: string | readonly string[], options: SpawnOptions = {}): Promise<GuestProcess> {
    return this.#agent.spawn(command, options);
  }
  /** Runs a program in the guest to its end, as `VirtualMachine.exec`. */
  async exec(command: string | readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return this.#agent.exec(command, options);
  }
  /** Files of the guest, as `VirtualMachine.fs`. */
  get fs(): GuestFiles {
    return this.#agent.files;
  }

  /**
   * Ends the VM: asks the guest, and kills it after `timeout` ms; with `force` at once. Resolves when it has ended and its name is free.
   * @throws VmmError ERR_CONTROL when its monitor does not answer in time
   */
  async stop(options: { readonly timeout: number; readonly force: boolean }): Promise<MachineEnd> {
    const { reason, code, message } = await ask(
      this.#path,
      { verb: 'stop', ...options },
      options.timeout + LINE_MS,
    );
    return { reason: String(reason), code: Number(code), message: String(message) };
  }

  async #connectAgent({ timeout, signal }: { timeout: number; signal?: AbortSignal }): Promise<Duplex> {
    signal?.throwIfAborted();
    const socket = await open(this.#path);
    const onAbort = (): void => void socket.destroy();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      socket.write(encodeRequest({ verb: 'agent', timeout: Math.ceil(timeout) }));
      parseAnswer(await readLine(socket, timeout + LINE_MS));
      return socket;
    } catch (error) {
      socket.destroy();
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

/**
 * Finds a VM by its name.
 * @throws ConfigError for what is no name; VmmError ERR_NO_VM when none has it; ERR_CONTROL when its monitor does not answer, or speaks
 *   another version of the protocol; ERR_FILE when the folder of the sockets is not this user's alone
 */
export async function connectMachine(name: string): Promise<NamedMachine> {
  checkName(name);
  const folder = await runtimeFolder({ make: false });
  if (folder === undefined) throw noMachine(name, []);
  const path = socketPath(folder, name);
  return new NamedMachine(path, await infoOf(path, name, LINE_MS));
}

/**
 * Every VM of this user that has a name, in the order of names; what killed monitors left behind is removed. One that does not answer has
 * only its name.
 */
export async function listMachines(): Promise<(MachineInfo | { readonly name: string })[]> {
  const folder = await runtimeFolder({ make: false });
  if (folder === undefined) return [];
  await removeHidden(folder);
  const found = await Promise.all(
    (await namesIn(folder)).map(async (name) => {
      const path = socketPath(folder, name);
      try {
        return await infoOf(path, name, LIST_MS);
      } catch (error) {
        if ((error as VmmError).code !== 'ERR_NO_VM') return { name };
        await removeStale(path);
        return undefined;
      }
    }),
  );
  return found.filter((machine) => machine !== undefined);
}

async function namesIn(folder: string): Promise<string[]> {
  const files = await readdir(folder);
  return files
    .map(nameOfSocket)
    .filter((name) => name !== undefined)
    .sort();
}

async function infoOf(path: string, name: string, limit: number): Promise<MachineInfo> {
  const { pid, state, began, agent, runs } = await ask(path, { verb: 'info' }, limit);
  const known = agent === 'given' || agent === 'possible' ? agent : 'none';
  return {
    ...{ name, pid: Number(pid), state: String(state), began: Number(began) },
    ...{ agent: known, runs: String(runs) },
  };
}

async function ask(path: string, request: Request, limit: number): Promise<Fields> {
  const socket = await open(path);
  try {
    socket.write(encodeRequest(request));
    return parseAnswer(await readLine(socket, limit));
  } finally {
    socket.destroy();
  }
}

/** @throws VmmError ERR_NO_VM */
async function open(path: string): Promise<Socket> {
  try {
    const socket = await connectTo(path);
    // Readers hear of it as of an end.
    socket.on('error', () => {});
    return socket;
  } catch (error) {
    const folder = path.slice(0, path.lastIndexOf('/'));
    const name = nameOfSocket(path.slice(folder.length + 1)) ?? path;
    if (isGone(error)) throw noMachine(name, await namesIn(folder).catch(() => []));
    throw new VmmError('ERR_CONTROL', `cannot connect to ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function noMachine(name: string, others: readonly string[]): VmmError {
  const guess = nearest(
    name,
    others.filter((other) => other !== name),
  );
  return new VmmError('ERR_NO_VM', `no VM named "${name}" runs`, {
    hint: guess ? `did you mean ${guess}? vmm ls shows them all` : 'vmm ls shows those that do',
  });
}
