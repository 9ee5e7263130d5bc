/**
 * The monitor's end of a control socket: a VM that other commands of the same user find by its name.
 * Runs on: main.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { PORT } from '../agent/protocol.js';
import { VmmError } from '../base/errors.js';
import { checkName, runtimeFolder } from './folder.js';
import { encodeAnswer, encodeRefusal, parseRequest, type Request, readLine } from './protocol.js';
import { publish } from './socket.js';

/** Connections at once: each program that runs in the guest has one. */
const MAX_CONNECTIONS = 1024;
/** How long answers may take to leave when the VM has ended, ms. */
const LAST_WORDS_MS = 1000;

/** What a control socket needs of a VM; a `VirtualMachine` has it. */
export interface ControlledMachine {
  /** `running`, `paused`, … */
  readonly state: string;
  /** Reaches the agent. */
  readonly vsock:
    | {
        connect(
          port: number,
          options: { readonly timeout: number; readonly signal: AbortSignal },
        ): Promise<Duplex>;
      }
    | undefined;
  /** Resolves when it has ended. */
  readonly exited: Promise<MachineEnd>;
  /** Asks it to end, and ends it after the timeout, ms. */
  stop(options: { readonly timeout: number }): Promise<MachineEnd>;
  /** Ends it at once. */
  kill(): Promise<MachineEnd>;
}

/** How a VM ended: an `ExitInfo`, as far as others are told. */
export interface MachineEnd {
  /** `poweroff`, `killed`, … */
  readonly reason: string;
  /** Its exit code. */
  readonly code: number;
  /** One sentence. */
  readonly message: string;
}

/** What `serveControl` is to say of the VM. */
export interface ControlOptions {
  /** Under which others find it: up to 64 letters, digits, `_`, `.` and `-`. */
  readonly name: string;
  /** Whether the guest's first process is the agent. */
  readonly agent: boolean;
  /** What runs in it, for people: a kernel's path, a command. */
  readonly runs: string;
}

/** A VM's control socket, made by `serveControl`; gone when the VM ends or this is disposed. */
export class ControlServer implements AsyncDisposable {
  readonly #machine: ControlledMachine;
  readonly #options: ControlOptions;
  readonly #began = Date.now();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #giveBack: (() => Promise<void>) | undefined;
  #released: Promise<void> | undefined;

  /** Made by `serveControl`. */
  constructor(machine: ControlledMachine, options: ControlOptions) {
    this.#machine = machine;
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true }, (socket) => void this.#serve(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.unref();
  }

  /** For `serveControl`. */
  async listen(): Promise<void> {
    const folder = await runtimeFolder({ make: true });
    this.#giveBack = await publish(this.#server, folder!, this.#options.name);
    // A client that accept(2) fails for is told by its own end.
    this.#server.on('error', () => {});
  }

  /** Takes the name back and closes every connection, when answers that are on their way have left. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#release();
    const gone = [...this.#sockets].map((socket) => finished(socket).catch(() => {}));
    const limit = new AbortController();
    await Promise.race([
      Promise.all(gone),
      sleep(LAST_WORDS_MS, undefined, { signal: limit.signal }).catch(() => {}),
    ]);
    limit.abort();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Once, for all who wait for it. */
  #release(): Promise<void> {
    this.#released ??= (async () => {
      this.#server.close();
      await this.#giveBack?.();
    })();
    return this.#released;
  }

  async #serve(socket: Socket): Promise<void> {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    let request: Request;
    try {
      request = parseRequest(await readLine(socket));
      if (request.verb === 'agent') return await this.#becomeAgent(socket, request.timeout);
      socket.end(encodeAnswer(await this.#answer(request)));
    } catch (error) {
      socket.end(encodeRefusal(error));
    }
    // Nothing more is read from it; this finds its end.
    socket.resume();
  }

  async #answer(request: Exclude<Request, { verb: 'agent' }>): Promise<Readonly<Record<string, unknown>>> {
    const machine = this.#machine;
    if (request.verb === 'info') {
      const { name, agent, runs } = this.#options;
      const reach = machine.vsock ? (agent ? 'given' : 'possible') : 'none';
      return { name, pid: process.pid, state: machine.state, began: this.#began, agent: reach, runs };
    }
    const { force, timeout } = request;
    const end = force ? await machine.kill() : await machine.stop({ timeout });
    // Whoever hears that it has ended may use the name again.
    await this.#release();
    const { reason, code, message } = end;
    return { reason, code, message };
  }

  async #becomeAgent(socket: Socket, timeout: number): Promise<void> {
    const { vsock } = this.#machine;
    if (!vsock) {
      throw new VmmError('ERR_VMM_CONFIG', `"${this.#options.name}" has no agent: it has no vsock`, {
        hint: 'start it with --agent, or with --vsock and an agent of yours',
      });
    }
    const gone = new AbortController();
    const onGone = (): void => gone.abort();
    // Until the answer a client has nothing to say; who says something has gone wrong.
    socket.once('data', onGone).once('end', onGone).once('close', onGone).resume();
    const stream = await vsock.connect(PORT, { timeout: Math.max(1, timeout), signal: gone.signal });
    socket.pause().off('data', onGone).off('end', onGone).off('close', onGone);
    socket.write(encodeAnswer({}));
    join(socket, stream);
  }
}

/** Bytes both ways with the flow control of both; each side's end is the other's, and failures too. */
function join(socket: Socket, stream: Duplex): void {
  socket.pipe(stream);
  stream.pipe(socket);
  stream.on('error', () => socket.destroy());
  stream.once('close', () => socket.destroySoon());
  socket.once('close', () => stream.destroy());
}

/**
 * Lets other programs of the same user find a VM by a name, until it ends: `connectMachine` there, or the command's `exec`, `cp` and
 * `stop`. Who may connect is decided by the folder of the sockets, which is open to the user alone.
 * @throws ConfigError when the name will not do or is taken; VmmError ERR_FILE when the folder or the socket cannot be made
 */
export async function serveControl(
  machine: ControlledMachine,
  options: ControlOptions,
): Promise<ControlServer> {
  checkName(options.name);
  const server = new ControlServer(machine, options);
  await server.listen();
  void machine.exited.then(() => server[Symbol.asyncDispose]());
  return server;
}
