/**
 * The one eventfd of a VM by which its vCPU threads call main: an exit waits, or the guest posted bytes. It says
 * only "look"; what there is to see is in the threads' control words and the register page.
 * Runs on: main.
 */
import { Fd } from '../host/fd.js';
import { eventfd } from '../host/libc.js';
import { pollEventfd } from '../host/poll.js';

export class Doorbell implements Disposable {
  readonly #fd = new Fd(eventfd(), 'vcpu doorbell');
  #poll: { close(): void; ref(): void; unref(): void } | undefined;

  get descriptor(): number {
    return this.#fd.number;
  }

  /** Starts listening; a listening doorbell keeps the event loop alive. */
  listen(onRing: () => void): void {
    this.#poll = pollEventfd(this.#fd.number, onRing);
  }

  [Symbol.dispose](): void {
    this.#poll?.close();
    this.#poll = undefined;
    this.#fd[Symbol.dispose]();
  }
}
