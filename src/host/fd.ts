/** A file descriptor that closes once. Runs on: main. */
import { close } from './libc.js';

export class Fd implements Disposable {
  #number: number;

  constructor(
    number: number,
    readonly name: string,
  ) {
    this.#number = number;
  }

  /** @throws Error after close: using a closed descriptor could reach somebody else's file */
  get number(): number {
    if (this.#number < 0) throw new Error(`${this.name} is closed`);
    return this.#number;
  }

  [Symbol.dispose](): void {
    if (this.#number < 0) return;
    close(this.#number);
    this.#number = -1;
  }
}
