/**
 * Notices a guest that can never run again: every vCPU halted with interrupts off. KVM does not report it, because
 * an NMI or INIT could still come; nothing in this machine sends one.
 *
 * Looking costs a kick per vCPU, so it happens only when a whole period passed without a single exit, and less and
 * less often while the guest merely idles.
 * Runs on: main.
 */

/** First look after this long without an exit, ms; doubled after each look that found the guest alive. */
const FIRST_MS = 500;
const LONGEST_MS = 30_000;

export interface Watched {
  /** Anything that changes when the guest does something the monitor sees. */
  progress(): number;
  /** Stops all vCPUs, looks, lets them go. Resolves true when all are halted with interrupts off. */
  isHaltedForGood(): Promise<boolean>;
}

export class HaltWatch {
  #timer: NodeJS.Timeout | undefined;
  #period = FIRST_MS;
  #seen = -1;

  constructor(
    private readonly watched: Watched,
    private readonly onHalted: () => void,
  ) {}

  start(): void {
    this.#timer = setTimeout(() => void this.#look(), this.#period);
    // The watch alone must not keep the embedder's process alive; the running vCPUs do.
    this.#timer.unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    const progress = this.watched.progress();
    if (progress !== this.#seen) {
      this.#seen = progress;
      this.#period = FIRST_MS;
    } else if (await this.watched.isHaltedForGood()) {
      if (this.#timer) this.onHalted();
      return;
    } else {
      // The look itself caused exits.
      this.#seen = this.watched.progress();
      this.#period = Math.min(this.#period * 2, LONGEST_MS);
    }
    if (this.#timer) this.start();
  }
}
