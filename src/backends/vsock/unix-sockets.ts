/**
 * A guest's ports as Unix sockets, by Firecracker's protocol (its docs/vsock.md), so that programs written for it work unchanged. A program
 * that connects to PATH says `CONNECT <guest port>\n` and gets `OK <host port>\n`, or the connection is closed; a guest's connection to port N
 * of the host goes to the socket PATH_N, where a program may listen.
 * Runs on: main.
 */
import { constants, promises } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { VmmError } from '../../base/errors.js';
import type { GuestStream, HostEnd } from '../../devices/vsock/backend.js';
import type { VsockFallback } from './ports.js';
import { type StreamOwner, VsockStream } from './stream.js';

/** Firecracker's limit for the first line, bytes with its end. */
const MAX_COMMAND = 32;
const NEWLINE = 0x0a;
const COMMAND = /^CONNECT\s+(\d+)\s*$/i;
/** Programs connected to PATH at once. */
const MAX_CLIENTS = 4096;
/** How long a program may take to say where it wants to, ms. */
const COMMAND_MS = 10_000;

export interface UnixSocketsOptions {
  readonly path: string;
  readonly owner: StreamOwner;
  /** Connects to a port of the guest. @returns the open connection @throws VmmError */
  readonly connect: (port: number) => Promise<VsockStream>;
}

export class UnixSockets implements VsockFallback {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(private readonly options: UnixSocketsOptions) {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#client(socket));
    this.#server.maxConnections = MAX_CLIENTS;
    // The VM keeps the process alive, while it runs.
    this.#server.unref();
  }

  /** @throws VmmError ERR_FILE when the path is in use or no socket can be made there */
  static async open(options: UnixSocketsOptions): Promise<UnixSockets> {
    await checkPlace(options.path);
    const sockets = new UnixSockets(options);
    await sockets.#listen();
    return sockets;
  }

  connecting(stream: GuestStream): HostEnd {
    const end = new VsockStream(this.options.owner).attach(stream);
    const socket = createConnection({ path: `${this.options.path}_${stream.hostPort}`, allowHalfOpen: true });
    this.#keep(socket);
    socket.once('connect', () => {
      stream.accept();
      join(socket, end);
    });
    socket.once('error', () => stream.reset());
    // The guest may give up meanwhile.
    end.once('error', () => socket.destroy());
    return end;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    // Takes the name away as well.
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #listen(): Promise<void> {
    const { path } = this.options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', ({ code, message }: NodeJS.ErrnoException) => {
        const why = code === 'EADDRINUSE' ? 'exists already' : (code ?? message);
        reject(new VmmError('ERR_FILE', `vsock: cannot make a socket: ${why}: ${path}`));
      });
      this.#server.listen(path, resolve);
    });
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** Reads the first line, and leaves what follows it in the socket. */
  #client(socket: Socket): void {
    this.#keep(socket);
    socket.on('error', () => socket.destroy());
    const timer = setTimeout(() => socket.destroy(), COMMAND_MS).unref();
    let line: Buffer = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      line = Buffer.concat([line, chunk]);
      const end = line.subarray(0, MAX_COMMAND).indexOf(NEWLINE);
      if (end < 0 && line.length < MAX_COMMAND) return;
      stop();
      const port = Number(COMMAND.exec(line.toString('latin1', 0, end))?.[1] ?? Number.NaN);
      if (end < 0 || !(port <= 0xffff_ffff)) {
        socket.destroy();
        return;
      }
      const rest = line.subarray(end + 1);
      if (rest.length > 0) socket.unshift(rest);
      void this.#connect(socket, port);
    };
    const onEnd = (): void => {
      stop();
      socket.destroy();
    };
    const stop = (): void => {
      clearTimeout(timer);
      socket.off('data', onData).off('end', onEnd).pause();
    };
    socket.on('data', onData).once('end', onEnd).once('close', stop);
  }

  async #connect(socket: Socket, port: number): Promise<void> {
    let stream: VsockStream;
    try {
      stream = await this.options.connect(port);
    } catch (error) {
      socket.destroy();
      // The program learns of it in the protocol's way; anything else is a mistake of ours.
      if (!(error instanceof VmmError)) throw error;
      return;
    }
    if (socket.destroyed) {
      stream.destroy();
      return;
    }
    socket.write(`OK ${stream.hostPort}\n`);
    join(socket, stream);
  }
}

/** Everything from each side to the other, ends and failures too. */
function join(socket: Socket, stream: VsockStream): void {
  socket.pipe(stream);
  stream.pipe(socket);
  stream.on('error', () => socket.destroy());
  stream.once('close', () => socket.destroySoon());
  socket.on('error', () => stream.destroy());
  socket.once('close', () => stream.destroy());
}

/** Node's own errors do not say what is wrong. @throws VmmError ERR_FILE */
async function checkPlace(path: string): Promise<void> {
  const refuse = (why: string, hint?: string): never => {
    throw new VmmError('ERR_FILE', `vsock: ${why}: ${path}`, { hint });
  };
  const there = await promises.lstat(path).catch(() => undefined);
  if (there?.isSocket()) refuse('exists already', 'remove it if no other monitor uses it');
  if (there) refuse('exists already, and is no socket');
  const folder = dirname(path);
  const parent = await promises.stat(folder).catch(() => undefined);
  if (!parent?.isDirectory()) refuse('no such folder for the socket');
  await promises.access(folder, constants.W_OK).catch(() => refuse('its folder is not writable'));
}
