/**
 * A network behind a Unix socket, in the way of QEMU's `-netdev stream` (its net/stream.c) and of passt: each frame follows its length, 32
 * bits in network order. Either side may be the one that listens.
 *
 * What the peer does not take in time stays with the guest, and what the guest does not take with the peer.
 * Runs on: main.
 */
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { HostError } from '../base/errors.js';
import type { NetBackend, Receive } from '../devices/net/backend.js';
import { FrameReader } from './frame-reader.js';

/** Bytes that wait for the peer before the guest does. */
const MAX_UNSENT = 2 ** 20;
const PREFIX = 4;

export interface StreamOptions {
  /** Wait for a peer to connect, instead of connecting to one. The socket is made, and is gone after `close`. */
  readonly listen?: boolean | undefined;
  /** Told in an Error when the peer is lost or talks nonsense; never before `open` has returned. */
  readonly onNotice?: ((error: Error) => void) | undefined;
}

/** A card at the other end of a socket: QEMU's `-netdev stream`, passt, or another machine of ours. */
export class StreamNetwork implements NetBackend {
  #receive: Receive = () => false;
  #drained: () => void = () => {};
  #peer: Socket | undefined;
  #reader = new FrameReader();
  #server: Server | undefined;
  #full = false;
  readonly #onNotice: (error: Error) => void;

  private constructor(
    private readonly path: string,
    onNotice: ((error: Error) => void) | undefined,
  ) {
    this.#onNotice = onNotice ?? (() => {});
  }

  /**
   * Connects to the peer that listens at `path`, or listens there.
   * @throws HostError ERR_FILE when nobody listens there, or the socket cannot be made
   */
  static async open(path: string, { listen = false, onNotice }: StreamOptions = {}): Promise<StreamNetwork> {
    const network = new StreamNetwork(path, onNotice);
    if (listen) await network.#listen();
    else network.#adopt(await connected(path));
    return network;
  }

  /** Whether there is a peer now. */
  get connected(): boolean {
    return this.#peer !== undefined;
  }

  send(frame: Uint8Array): boolean {
    const peer = this.#peer;
    // As on a cable that ends nowhere.
    if (!peer) return true;
    if (peer.writableLength > MAX_UNSENT) {
      this.#full = true;
      return false;
    }
    const message = Buffer.allocUnsafe(PREFIX + frame.length);
    message.writeUInt32BE(frame.length);
    message.set(frame, PREFIX);
    peer.write(message);
    return true;
  }

  onReceive(receive: Receive): void {
    this.#receive = receive;
  }

  onDrain(drained: () => void): void {
    this.#drained = drained;
  }

  room(): void {
    this.#deliver();
  }

  async close(): Promise<void> {
    this.#receive = () => false;
    const server = this.#server;
    this.#server = undefined;
    const peer = this.#peer;
    this.#peer = undefined;
    peer?.destroy();
    if (server) await new Promise<void>((resolve) => void server.close(() => resolve()));
  }

  async #listen(): Promise<void> {
    const server = createServer((socket) => {
      // One card, one cable.
      if (this.#peer) socket.destroy();
      else this.#adopt(socket);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(socketError('listen', this.path, error)));
      server.listen(this.path, resolve);
    });
    server.removeAllListeners('error');
    server.on('error', (error) => this.#onNotice(error));
    this.#server = server;
    // Waiting for a peer does not keep the process alive; the machine does.
    server.unref();
  }

  #adopt(socket: Socket): void {
    this.#peer = socket;
    this.#reader = new FrameReader();
    socket.unref();
    socket.on('data', (bytes) => {
      this.#reader.push(bytes);
      this.#deliver();
    });
    socket.on('drain', () => this.#drain());
    socket.on('error', (error) => this.#lost(socket, error));
    socket.on('close', () => this.#lost(socket, new Error('the peer has closed the connection')));
  }

  #deliver(): void {
    const peer = this.#peer;
    if (!peer) return;
    for (;;) {
      const frame = this.#reader.peek();
      if (frame === 'nonsense') {
        this.#lost(peer, new Error(`the peer does not send frames behind their length`));
        return;
      }
      if (!frame) break;
      if (!this.#receive(frame)) {
        // The kernel's buffer fills up, and then the peer waits.
        peer.pause();
        return;
      }
      this.#reader.skip();
    }
    if (peer.isPaused()) peer.resume();
  }

  #drain(): void {
    if (!this.#full) return;
    this.#full = false;
    this.#drained();
  }

  #lost(socket: Socket, error: Error): void {
    if (this.#peer !== socket) return;
    this.#peer = undefined;
    socket.destroy();
    this.#onNotice(new Error(`${this.path}: ${error.message}`, { cause: error }));
    // What waits is dropped, as on a cable that was pulled.
    this.#drain();
  }
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('error', (error) => reject(socketError('connect', path, error)));
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
  });
}

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'no such socket',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'permission denied',
  ENOTSOCK: 'is no socket',
  EADDRINUSE: 'exists already',
};

function socketError(syscall: string, path: string, error: NodeJS.ErrnoException): HostError {
  const { code = '', errno = 0 } = error;
  // A path of more than 107 bytes (unix(7)) has no code of its own.
  const problem = PROBLEMS[code] ?? (code === 'EINVAL' ? 'no path of a socket' : code);
  const hint =
    syscall === 'connect'
      ? `start the peer first, such as: passt --socket ${path}`
      : code === 'EADDRINUSE'
        ? 'remove it if no machine uses it any more'
        : undefined;
  return new HostError(`${path}: ${problem}`, syscall, -errno, code, {
    code: 'ERR_FILE',
    hint,
    cause: error,
  });
}
