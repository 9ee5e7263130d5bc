/**
 * The guest's serial port as a Node Duplex. The guest is never made to wait for a reader: output nobody takes is
 * kept up to a limit, then the oldest is dropped and counted. Input waits until the guest takes it.
 * Runs on: main.
 */
import { Duplex } from 'node:stream';

/** Bytes of unread output kept beside the stream's own buffer. */
const BACKLOG = 2 ** 20;

/** What the stream needs of a UART. */
export interface SerialEnd {
  /** @returns how many bytes were taken */
  receive(bytes: Uint8Array): number;
  /** Called when bytes may be taken again. */
  onRoom: (() => void) | undefined;
}

export class ConsoleStream extends Duplex {
  /** Bytes of output thrown away because nobody read them in time. */
  dropped = 0;
  readonly #serial: SerialEnd;
  readonly #backlog: Buffer[] = [];
  #backlogLength = 0;
  #wanted = false;
  #input: { rest: Uint8Array; readonly done: (error?: Error | null) => void } | undefined;

  constructor(serial: SerialEnd) {
    super({ allowHalfOpen: true });
    this.#serial = serial;
    serial.onRoom = () => this.#feed();
  }

  /** Output of the guest. `bytes` are copied. */
  deliver(bytes: Uint8Array): void {
    const chunk = Buffer.from(bytes);
    if (this.#wanted && this.#backlog.length === 0) {
      this.#wanted = this.push(chunk);
      return;
    }
    this.#backlog.push(chunk);
    this.#backlogLength += chunk.length;
    while (this.#backlogLength > BACKLOG) {
      const oldest = this.#backlog.shift();
      if (!oldest) break;
      this.#backlogLength -= oldest.length;
      this.dropped += oldest.length;
    }
  }

  /** No more output: readers get the rest and then the end; writers get an error from now on. */
  finish(): void {
    for (const chunk of this.#backlog.splice(0)) this.push(chunk);
    this.#backlogLength = 0;
    this.push(null);
    const input = this.#input;
    this.#input = undefined;
    input?.done();
    if (!this.writableEnded) this.end();
  }

  override _read(): void {
    this.#wanted = true;
    while (this.#wanted) {
      const chunk = this.#backlog.shift();
      if (!chunk) return;
      this.#backlogLength -= chunk.length;
      this.#wanted = this.push(chunk);
    }
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#input = { rest: chunk, done };
    this.#feed();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#serial.onRoom = undefined;
    this.#backlog.length = 0;
    done(error);
  }

  #feed(): void {
    const input = this.#input;
    if (!input) return;
    input.rest = input.rest.subarray(this.#serial.receive(input.rest));
    if (input.rest.length > 0) return;
    this.#input = undefined;
    input.done();
  }
}
