/**
 * Bytes between the machine's ports and this process's streams. Each port is a Unix socket of QEMU's. A slow reader slows the
 * machine down; nothing is kept here.
 * Runs on: main.
 */
import { connect, type Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';

/** Connects to a port. `failed` hears of a connection that breaks. */
export function openPort(path: string, failed: (why: string) => void): Socket {
  // Half open: the end of input is a half-close, which QEMU sees only after the bytes in front of it.
  const socket = connect({ path, allowHalfOpen: true });
  socket.on('error', (error) => failed(`the connection to the machine broke: ${error.message}`));
  return socket;
}

/** One direction out of the machine. */
export class Output {
  #received = 0;
  #expected = Number.POSITIVE_INFINITY;
  readonly #complete: Promise<void>;
  #done: () => void = () => {};

  /** @param onBytes called whenever some have come */
  constructor(socket: Socket, to: Writable, onBytes: () => void) {
    this.#complete = new Promise((resolve) => {
      this.#done = resolve;
    });
    socket.on('data', (chunk: Buffer) => {
      this.#received += chunk.length;
      onBytes();
      if (!to.write(chunk)) {
        socket.pause();
        to.once('drain', () => socket.resume());
      }
      this.#check();
    });
  }

  /** Settles when `count` bytes in all have been passed on. */
  reach(count: number): Promise<void> {
    this.#expected = count;
    this.#check();
    return this.#complete;
  }

  #check(): void {
    if (this.#received >= this.#expected) this.#done();
  }
}

/** Passes `from` on, its end included. Returns what stops it. */
export function forwardInput(from: Readable, socket: Socket): () => void {
  from.pipe(socket);
  return () => {
    from.unpipe(socket);
    from.pause();
  };
}

/** Calls `visit` with each line that comes. */
export function onLines(socket: Socket, visit: (line: string) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) visit(line);
  });
}
