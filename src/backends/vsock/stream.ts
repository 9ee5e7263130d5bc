/**
 * A connection with a guest program as a Node Duplex. Data of the guest waits here until it is read, no more of it than the guest has
 * credit for; what is written waits with its writer until the guest has room.
 *
 * The rule: a device's turn calls in here, so nothing in these calls may run an embedder's code. What does is put off to the next tick.
 * Runs on: main.
 */
import { Duplex } from 'node:stream';
import { VmmError } from '../../base/errors.js';
import type { GuestStream, HostEnd, StreamEnd } from '../../devices/vsock/backend.js';

/** Where a stream belongs. */
export interface StreamOwner {
  /** Why the VM ended; undefined while it has not. */
  readonly ended: string | undefined;
}

/**
 * One connection with a program in the guest. Ends like a socket: `end()` says that no more will come and leaves the other direction open,
 * `destroy()` ends both. It fails with ERR_VSOCK_RESET when the guest breaks it off, and with ERR_GUEST_EXIT when
 * the VM ends, unless nothing listens for its errors.
 */
export interface VsockConnection extends Duplex {
  /** The guest's port. */
  readonly guestPort: number;
  /** The host's port. */
  readonly hostPort: number;
}

/**
 * What a writer may be ahead of the guest, bytes: two of the largest packets, so that there is a next one while the writer is told that
 * there is room. Beside it the guest's own buffer fills.
 */
const WRITE_AHEAD = 128 * 1024;

export class VsockStream extends Duplex implements VsockConnection, HostEnd {
  #stream: GuestStream | undefined;
  /** Data of the guest that nobody has asked for. */
  #backlog: Buffer[] = [];
  #wanted = false;
  #guestEnded = false;
  #endPushed = false;
  #guestDeaf = false;
  #why: StreamEnd | undefined;
  #flushing = false;
  #output: Uint8Array[] = [];
  /** Bytes of the first of them that were pulled. */
  #pulled = 0;
  #written: ((error?: Error | null) => void) | undefined;
  #settle: ((why: StreamEnd | undefined) => void) | undefined;

  constructor(private readonly owner: StreamOwner) {
    super({ allowHalfOpen: true, writableHighWaterMark: WRITE_AHEAD });
  }

  get guestPort(): number {
    return this.#stream?.guestPort ?? 0;
  }
  get hostPort(): number {
    return this.#stream?.hostPort ?? 0;
  }

  /** @param stream the device's side */
  attach(stream: GuestStream): this {
    this.#stream = stream;
    return this;
  }

  /** Resolves with undefined when the guest has taken the connection, otherwise with why not. */
  settled(): Promise<StreamEnd | undefined> {
    return new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  opened(): void {
    this.#settle?.(undefined);
    this.#settle = undefined;
  }

  received(bytes: Uint8Array): void {
    this.#backlog.push(Buffer.from(bytes));
    this.#flushSoon();
  }

  guestEnded(): void {
    this.#guestEnded = true;
    this.#flushSoon();
  }

  guestDeaf(): void {
    this.#guestDeaf = true;
    this.#flushSoon();
  }

  pull(into: Uint8Array): number {
    let filled = 0;
    while (filled < into.length) {
      const [chunk] = this.#output;
      if (!chunk) break;
      const part = chunk.subarray(this.#pulled, this.#pulled + into.length - filled);
      into.set(part, filled);
      filled += part.length;
      this.#pulled += part.length;
      if (this.#pulled < chunk.length) break;
      this.#output.shift();
      this.#pulled = 0;
    }
    if (this.#output.length === 0) this.#flushSoon();
    return filled;
  }

  over(why: StreamEnd): void {
    this.#why = why;
    if (why === 'closed') this.#guestEnded = this.#guestDeaf = true;
    this.#settle?.(why);
    this.#settle = undefined;
    this.#flushSoon();
  }

  override _read(): void {
    this.#wanted = true;
    this.#flushSoon();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send([chunk], done);
  }

  override _writev(chunks: { chunk: Uint8Array }[], done: (error?: Error | null) => void): void {
    this.#send(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#stream?.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (error) this.#stream?.reset();
    else this.#stream?.close();
    this.#backlog = [];
    this.#output = [];
    done(error);
  }

  #send(chunks: readonly Uint8Array[], done: (error?: Error | null) => void): void {
    this.#output = chunks.filter(({ length }) => length > 0);
    this.#pulled = 0;
    this.#written = done;
    if (this.#guestDeaf || this.#output.length === 0) this.#flushSoon();
    else this.#stream?.ready();
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    process.nextTick(() => {
      this.#flushing = false;
      if (!this.destroyed) this.#flush();
    });
  }

  /** Passes on what there is: data, the guest's end, room for the writer, and the end of everything, in this order. */
  #flush(): void {
    this.#passOn();
    if (this.destroyed) return;
    const done = this.#written;
    if (done && this.#output.length === 0) {
      this.#written = undefined;
      done();
    }
    const broken = this.#why !== undefined && this.#why !== 'closed';
    if (broken && (this.#backlog.length === 0 || this.#written)) {
      // Whoever ends a VM need not have an eye on every stream that ends with it.
      const quiet = this.owner.ended !== undefined && this.listenerCount('error') === 0;
      this.destroy(quiet ? undefined : this.#brokenOff());
    }
    if (this.#backlog.length > 0 || broken) return;
    if (this.#guestEnded && !this.#endPushed) {
      this.#endPushed = true;
      this.push(null);
    }
    if (this.#guestDeaf && this.#written) this.#failWrite(this.#written);
    else if (this.#why) this.#afterReading(() => this.end());
  }

  /** Gives the reader what it wants, and the guest credit for all of it at once. */
  #passOn(): void {
    let passed = 0;
    try {
      while (this.#wanted && this.#backlog.length > 0 && !this.destroyed) {
        const chunk = this.#backlog.shift()!;
        passed += chunk.length;
        this.#wanted = this.push(chunk);
      }
    } finally {
      if (passed > 0) this.#stream?.consumed(passed);
    }
  }

  /** A guest that has all it wanted may have sent an answer before it went: that is read first. */
  #failWrite(done: (error?: Error | null) => void): void {
    this.#written = undefined;
    const fail = (): void => done(new VmmError('ERR_VSOCK_RESET', this.#say('the guest reads no more')));
    this.#afterReading(fail);
  }

  #afterReading(action: () => void): void {
    if (this.readableEnded) action();
    else this.once('end', action);
  }

  #brokenOff(): VmmError {
    const { ended } = this.owner;
    if (ended !== undefined) return new VmmError('ERR_GUEST_EXIT', this.#say(`the VM ended: ${ended}`));
    return new VmmError('ERR_VSOCK_RESET', this.#say('the guest broke off the connection'));
  }

  #say(what: string): string {
    return `vsock connection between guest port ${this.guestPort} and host port ${this.hostPort}: ${what}`;
  }
}
