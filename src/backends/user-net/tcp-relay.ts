/**
 * Two streams joined: a connection with the guest and a socket of the host, or any Duplex. Each end waits for the other: what the
 * host has not taken closes the guest's window, and what the guest has not taken pauses the host's socket. Ends are passed on one
 * direction at a time, a reset as a reset.
 * Runs on: main.
 */
import type { Duplex } from 'node:stream';
import { ByteQueue } from './tcp/byte-queue.js';
import type { Connection } from './tcp/connection.js';
import type { TcpUser } from './tcp/ends.js';

/** How long a guest may keep its half open when the host's side is gone: Linux's tcp_fin_timeout. */
const ORPHAN_MS = 60_000;

export class TcpRelay implements TcpUser {
  readonly #finished: () => void;
  #connection: Connection | undefined;
  #stream: Duplex | undefined;
  /** From the guest, while the host's side is busy: gathered, so that a thousand small segments are one write. */
  readonly #waiting = new ByteQueue();
  #guestEnded = false;
  #hostEnded = false;
  #over = false;
  #orphaned: NodeJS.Timeout | undefined;

  /** @param finished called once, when nothing of it is left */
  constructor(finished: () => void = () => {}) {
    this.#finished = finished;
  }

  /** The host's side is there. Data of either side flows from now on. */
  join(connection: Connection, stream: Duplex): void {
    this.#connection = connection;
    this.#stream = stream;
    stream.on('data', (chunk: Buffer | string) => this.#fromHost(chunk));
    stream.once('end', () => {
      this.#hostEnded = true;
      this.#connection?.end();
      this.#settle();
    });
    stream.on('error', () => this.#cut());
    stream.once('close', () => {
      if (this.#hostEnded && this.pending === 0) this.#awaitGuest();
      else this.#cut();
      this.#settle();
    });
    if (this.#connection.state !== 'established') stream.pause();
  }

  established(): void {
    this.#stream?.resume();
  }

  data(bytes: Uint8Array): void {
    if (this.#stream?.destroyed)
      this.#cut(); // nobody is there to read it
    else if (!this.#stream || this.#waiting.length > 0 || this.#stream.writableLength > 0)
      this.#waiting.push(bytes);
    else this.#write([bytes]);
  }

  get pending(): number {
    return this.#waiting.length + (this.#stream?.writableLength ?? 0);
  }

  ended(): void {
    this.#guestEnded = true;
    this.#flush();
  }

  drained(): void {
    if (this.#stream?.isPaused()) this.#stream.resume();
  }

  closed(how: 'ended' | 'reset' | 'timeout'): void {
    this.#connection = undefined;
    clearTimeout(this.#orphaned);
    // After a regular end the host's socket may still have data to take, and its own end follows.
    if (how !== 'ended') this.#destroy();
    this.#settle();
  }

  /** Ends both sides at once. */
  abort(): void {
    this.#cut();
  }

  #fromHost(chunk: Buffer | string): void {
    const connection = this.#connection;
    if (!connection) return;
    connection.write(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
    if (connection.sender.room === 0) this.#stream?.pause();
  }

  #write(chunks: readonly Uint8Array[]): void {
    const stream = this.#stream;
    if (!stream || stream.destroyed || stream.writableEnded) return;
    if (chunks.length > 1) stream.cork();
    for (const [index, chunk] of chunks.entries()) {
      if (index < chunks.length - 1) stream.write(chunk);
      else stream.write(chunk, () => this.#flush());
    }
    if (chunks.length > 1) stream.uncork();
  }

  /** The host's side has taken what it had. */
  #flush(): void {
    const stream = this.#stream;
    if (!stream || stream.destroyed) return;
    if (stream.writableLength === 0 && this.#waiting.length > 0) this.#write(this.#waiting.takeAll());
    if (this.#guestEnded && this.#waiting.length === 0 && !stream.writableEnded) stream.end();
    this.#connection?.consumed();
  }

  /** The host's side is gone after its end: the guest may end in its own time, but not at its leisure. */
  #awaitGuest(): void {
    if (!this.#connection) return;
    this.#orphaned = setTimeout(() => this.#cut(), ORPHAN_MS);
    this.#orphaned.unref();
  }

  #cut(): void {
    clearTimeout(this.#orphaned);
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.abort();
    this.#destroy();
    this.#settle();
  }

  /** With a reset where the stream is a socket: its other end must not take it for a regular end. */
  #destroy(): void {
    const stream = this.#stream as (Duplex & { resetAndDestroy?: () => void }) | undefined;
    this.#waiting.takeAll();
    if (!stream || stream.destroyed) return;
    if (stream.resetAndDestroy) stream.resetAndDestroy();
    else stream.destroy();
  }

  #settle(): void {
    if (this.#over || this.#connection || (this.#stream && !this.#stream.destroyed)) return;
    this.#over = true;
    this.#finished();
  }
}
