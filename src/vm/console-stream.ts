/**
 * A guest's console as a Node Duplex. Input waits until the guest takes it. Output nobody takes is kept up to a limit,
 * then the oldest is dropped and counted: the guest is never made to wait for a reader that does not exist. Whether it
 * waits for one that is merely slow depends on the device: a UART cannot, virtio can.
 * Runs on: main.
 */
import { Duplex } from 'node:stream';
import { ByteBacklog } from './byte-backlog.js';

/** Bytes of unread output kept beside the stream's own buffer: several boots' logs, and no burden for a host of many VMs. */
const BACKLOG = 256 * 1024;

/** What the stream needs of a UART or a console device. */
export interface ConsoleEnd {
  /** @returns how many bytes were taken */
  receive(bytes: Uint8Array): number;
  /** Called when bytes may be taken again. */
  onRoom: (() => void) | undefined;
}

export class ConsoleStream extends Duplex {
  /** Bytes of output thrown away because nobody read them in time. */
  dropped = 0;
  readonly #device: ConsoleEnd;
  readonly #backlog = new ByteBacklog(BACKLOG);
  #wanted = false;
  #hasReader = false;
  #input: { rest: Uint8Array; readonly done: (error?: Error | null) => void } | undefined;

  constructor(end: ConsoleEnd) {
    super({ allowHalfOpen: true });
    this.#device = end;
    end.onRoom = () => this.#feed();
  }

  /** Called when a reader that `deliver` found slow has taken everything. */
  onDrain: (() => void) | undefined;

  /** Output of the guest. `bytes` are copied. @returns false: a reader is there, and slow; wait for `onDrain` */
  deliver(bytes: Uint8Array): boolean {
    if (this.#wanted && this.#backlog.length === 0) {
      this.#wanted = this.push(Buffer.from(bytes));
      return this.#wanted;
    }
    this.dropped += this.#backlog.append(bytes);
    return !this.#hasReader;
  }

  /** No more output: readers get the rest and then the end; writers get an error from now on. */
  finish(): void {
    for (let chunk = this.#backlog.take(); chunk; chunk = this.#backlog.take()) this.push(chunk);
    this.push(null);
    const input = this.#input;
    this.#input = undefined;
    input?.done();
    if (!this.writableEnded) this.end();
  }

  override _read(): void {
    this.#hasReader = true;
    this.#wanted = true;
    while (this.#wanted) {
      const chunk = this.#backlog.take();
      if (!chunk) {
        this.onDrain?.();
        return;
      }
      this.#wanted = this.push(chunk);
    }
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#input = { rest: chunk, done };
    this.#feed();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#device.onRoom = undefined;
    done(error);
  }

  #feed(): void {
    const input = this.#input;
    if (!input) return;
    input.rest = input.rest.subarray(this.#device.receive(input.rest));
    if (input.rest.length > 0) return;
    this.#input = undefined;
    input.done();
  }
}
