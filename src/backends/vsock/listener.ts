/**
 * Connections of a guest to one port of the host, to be taken one after the other.
 * Runs on: main.
 */
import type { VsockConnection } from './stream.js';

/** Connections nobody has taken yet; further ones are refused, as by listen(2). */
const BACKLOG = 128;

/** What `vm.vsock.listen` gives: `for await (const connection of listener)`. Leaving the loop closes it. */
export class VsockListener implements AsyncIterableIterator<VsockConnection>, AsyncDisposable {
  readonly #waiting: VsockConnection[] = [];
  readonly #takers: ((result: IteratorResult<VsockConnection, undefined>) => void)[] = [];
  #closed = false;

  /** Made by `vm.vsock.listen`. */
  constructor(
    /** The host's port. */
    readonly port: number,
    private readonly onClose: () => void,
  ) {}

  /** For `vm.vsock`: a new connection. @returns false: no */
  offer(make: () => VsockConnection): boolean {
    if (this.#closed || this.#waiting.length >= BACKLOG) return false;
    const stream = make();
    const take = this.#takers.shift();
    if (take) take({ done: false, value: stream });
    else {
      this.#waiting.push(stream);
      // Until somebody has it, nobody else can look at its errors.
      stream.once('error', () => this.#forget(stream));
    }
    return true;
  }

  /** The next connection; done when the listener is closed or the VM has ended. */
  async next(): Promise<IteratorResult<VsockConnection, undefined>> {
    const stream = this.#waiting.shift();
    if (stream) return { done: false, value: stream };
    if (this.#closed) return { done: true, value: undefined };
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  /** What leaving a loop calls. */
  async return(): Promise<IteratorResult<VsockConnection, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  /** Takes no more connections. Those that nobody has taken are broken off. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.onClose();
    for (const stream of this.#waiting.splice(0)) stream.destroy();
    for (const take of this.#takers.splice(0)) take({ done: true, value: undefined });
  }

  /** Iterates over itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #forget(stream: VsockConnection): void {
    const at = this.#waiting.indexOf(stream);
    if (at >= 0) this.#waiting.splice(at, 1);
  }
}
