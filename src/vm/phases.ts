/** When each phase of a boot was reached, in milliseconds since the VM's creation began. Runs on: main. */
import { milliseconds } from '../base/clock.js';

export type Phase =
  | 'planned' // images checked, everything placed
  | 'created' // KVM VM, memory and devices exist
  | 'loaded' // kernel, initrd and tables are in memory
  | 'ready' // vCPU state is set
  | 'started' // vCPU threads were started
  | 'first-output' // first byte on the console
  | 'booted'; // the guest wrote to the boot timer

export class Phases {
  readonly #origin = milliseconds();
  readonly #reached = new Map<Phase, number>();

  mark(phase: Phase): void {
    if (!this.#reached.has(phase)) this.#reached.set(phase, milliseconds() - this.#origin);
  }

  /** Milliseconds since creation began. */
  get elapsed(): number {
    return milliseconds() - this.#origin;
  }

  report(): Readonly<Partial<Record<Phase, number>>> {
    return Object.fromEntries(this.#reached);
  }
}
