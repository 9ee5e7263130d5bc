/**
 * Signals while something is prepared: the work is aborted, removes what it has half done, and the command ends as the signal
 * would have ended it. A second signal ends it at once.
 * Runs on: main.
 */
import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export class Interruption implements Disposable {
  readonly #controller = new AbortController();
  readonly #handlers = SIGNALS.map((name) => [name, () => this.#on(name)] as const);
  /** The exit code, 128 and the signal's number, once one came. */
  status: number | undefined;

  constructor() {
    for (const [name, handler] of this.#handlers) process.on(name, handler);
  }

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Signals do again what they did before. */
  [Symbol.dispose](): void {
    for (const [name, handler] of this.#handlers) process.off(name, handler);
  }

  #on(name: (typeof SIGNALS)[number]): void {
    const status = 128 + constants.signals[name];
    if (this.status !== undefined) process.exit(status);
    this.status = status;
    this.#controller.abort(new Error(`interrupted by ${name}`));
  }
}
