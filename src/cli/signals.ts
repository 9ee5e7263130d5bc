/** SIGINT, SIGTERM and SIGHUP end the VM and then the command; a second one ends the command at once. */
import { codeOfSignal } from './exit-codes.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export class Interrupts implements Disposable {
  readonly #controller = new AbortController();
  readonly #handlers = SIGNALS.map((name) => [name, () => this.#on(name)] as const);
  /** The first signal that came. */
  received: NodeJS.Signals | undefined;

  constructor() {
    for (const [name, handler] of this.#handlers) process.on(name, handler);
  }

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    for (const [name, handler] of this.#handlers) process.off(name, handler);
  }

  #on(name: NodeJS.Signals): void {
    if (this.received) process.exit(codeOfSignal(name));
    this.received = name;
    this.#controller.abort();
  }
}
