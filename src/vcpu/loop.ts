/**
 * One vCPU's exits, answered: exit → bus → resume. Between an exit and `resume()` the kvm_run page belongs to main;
 * otherwise to the vCPU thread. Nothing else is shared but guest memory.
 *
 * An answer costs about a microsecond, two thread wake-ups cost fifty. So when exits come in bursts and the thread
 * runs on another CPU, main watches for the next exit for a short while instead of returning to its event loop.
 * Runs on: main.
 */
import type { Bus } from '../bus/bus.js';
import type { KvmVcpu } from '../kvm/kvm.js';
import { type AccessExit, type Exit, isAccess, RunPage } from './exit.js';
import { ExitStats } from './stats.js';
import type { VcpuThread } from './thread.js';

/** errno of a kick. */
const EINTR = 4;
/** How long main watches for the next exit before it gives up, ns. */
const SILENCE_NS = 50_000;
/** How long one visit may keep the event loop, ms: the embedder's other callbacks wait that long. */
const SESSION_MS = 0.2;
/** An exit this soon after the last resume is part of a burst, ms; a lone timer tick is not worth watching for. */
const BURST_MS = 0.25;

/** Why a vCPU stopped for good. */
export type VcpuEnd =
  | Exclude<Exit, AccessExit | { kind: 'interrupted' }>
  | { readonly kind: 'run-error'; readonly errno: number }
  | { readonly kind: 'device-error'; readonly error: unknown; readonly address: number };

export interface VcpuLoopOptions {
  readonly vcpu: KvmVcpu;
  readonly thread: VcpuThread;
  readonly pio: Bus;
  readonly mmio: Bus;
  /** Called once; the thread stays parked for inspection until it is stopped. */
  readonly onEnd: (end: VcpuEnd) => void;
}

export class VcpuLoop {
  readonly stats = new ExitStats();
  readonly #options: VcpuLoopOptions;
  readonly #run: RunPage;
  /** A device's promise is being waited for, or the vCPU has ended: the park is not ours to answer. */
  #held = false;
  #resumedAt = 0;
  #pausing: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  #paused = false;

  constructor(options: VcpuLoopOptions) {
    this.#options = options;
    this.#run = new RunPage(options.vcpu.run.view());
  }

  start(): void {
    this.#resumedAt = performance.now();
    this.#options.thread.start();
  }

  /** Answers the exit the thread is parked at, if it is, and those that follow at once. */
  serve(): void {
    const { thread } = this.#options;
    if (!this.#mayAnswer()) return;
    const started = performance.now();
    const burst = started - this.#resumedAt < BURST_MS && thread.onOtherCpu;
    if (burst) thread.beginSpin();
    do {
      this.#answer();
    } while (
      burst &&
      !this.#held &&
      performance.now() - started < SESSION_MS &&
      thread.spin(SILENCE_NS) &&
      this.#mayAnswer()
    );
    if (!burst) return;
    thread.endSpin();
    // An exit that came between the last look and endSpin() told nobody.
    if (this.#mayAnswer()) setImmediate(() => this.serve());
  }

  /** Resolves when the vCPU is between two instructions, with no access half done, and stays there. */
  pause(): Promise<void> {
    if (this.#paused) return Promise.resolve();
    if (!this.#pausing) {
      let resolve!: () => void;
      const promise = new Promise<void>((done) => {
        resolve = done;
      });
      this.#pausing = { promise, resolve };
      this.#options.thread.kick();
    }
    return this.#pausing.promise;
  }

  resume(): void {
    this.#pausing = undefined;
    if (!this.#paused) return;
    this.#paused = false;
    this.#resume();
  }

  /** Ends the thread. A pause that was waited for counts as reached: nothing runs any more. */
  stop(): void {
    this.#held = true;
    this.#options.thread.stop();
    this.#pausing?.resolve();
  }

  #mayAnswer(): boolean {
    return !this.#held && !this.#paused && this.#options.thread.parked;
  }

  #answer(): void {
    const { error } = this.#options.thread;
    if (error === EINTR) this.#interrupted();
    else if (error !== 0) this.#end({ kind: 'run-error', errno: error });
    else {
      const exit = this.#run.decode();
      if (isAccess(exit)) this.#access(exit);
      else if (exit.kind === 'interrupted') this.#interrupted();
      else this.#end(exit);
    }
  }

  #access(exit: AccessExit): void {
    const { kind, address, isWrite, size, data } = exit;
    this.stats.access(kind, address);
    const bus = kind === 'pio' ? this.#options.pio : this.#options.mmio;
    try {
      for (let done = 0; done < data.length; done += size) {
        const one = size === data.length ? data : data.subarray(done, done + size);
        const pending = bus.access(address, one, isWrite);
        if (pending) {
          this.#held = true;
          void this.#finish(bus, exit, done + size, pending);
          return;
        }
      }
    } catch (error) {
      this.#end({ kind: 'device-error', error, address });
      return;
    }
    this.#resume();
  }

  /** The rest of an access one of whose parts a device answers later. */
  async #finish(bus: Bus, exit: AccessExit, from: number, pending: Promise<void>): Promise<void> {
    const { address, isWrite, size, data } = exit;
    try {
      await pending;
      for (let done = from; done < data.length; done += size) {
        await bus.access(address, data.subarray(done, done + size), isWrite);
      }
      this.#held = false;
      this.#resume();
    } catch (error) {
      this.#end({ kind: 'device-error', error, address });
    }
  }

  #interrupted(): void {
    this.stats.count('interrupted');
    if (!this.#pausing) {
      this.#resume();
      return;
    }
    this.#paused = true;
    this.#pausing.resolve();
  }

  #resume(): void {
    // Stopped by the device just accessed (a reset port): the thread is gone or going.
    if (!this.#options.thread.parked) return;
    this.#resumedAt = performance.now();
    this.#options.thread.resume();
  }

  #end(end: VcpuEnd): void {
    this.#held = true;
    this.stats.count(end.kind);
    this.#options.onEnd(end);
  }
}
