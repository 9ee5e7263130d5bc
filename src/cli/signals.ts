/**
 * SIGINT, SIGTERM and SIGHUP end the VM and then the command; a second one ends the command at once. SIGTERM, which is how service managers
 * say goodbye, asks first where somebody can be asked; SIGINT comes from who waits at a terminal, and SIGHUP from one that is gone.
 */
import { codeOfSignal } from './exit-codes.js';

/** How long a guest may take that was asked to end, ms. */
export const GRACE_MS = 10_000;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export class Interrupts implements Disposable {
  readonly #controller = new AbortController();
  readonly #handlers = SIGNALS.map((name) => [name, () => this.#on(name)] as const);
  #ask: (() => Promise<unknown>) | undefined;
  /** The first signal that came. */
  received: NodeJS.Signals | undefined;

  constructor() {
    for (const [name, handler] of this.#handlers) process.on(name, handler);
  }

  /** Aborted by the first signal; by a SIGTERM that asked, when the answer is there. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** From now on SIGTERM does this before it aborts. */
  askFirst(ask: () => Promise<unknown>): void {
    this.#ask = ask;
  }

  [Symbol.dispose](): void {
    for (const [name, handler] of this.#handlers) process.off(name, handler);
  }

  #on(name: NodeJS.Signals): void {
    if (this.received) process.exit(codeOfSignal(name));
    this.received = name;
    const abort = (): void => this.#controller.abort();
    if (name === 'SIGTERM' && this.#ask) void this.#ask().then(abort, abort);
    else abort();
  }
}
