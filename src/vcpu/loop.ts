/**
 * One vCPU's exits, answered: exit → bus → resume. Between an exit and `resume()` the kvm_run page belongs to main;
 * otherwise to the vCPU thread. Nothing else is shared but guest memory.
 *
 * An answer costs about a microsecond, two thread wake-ups cost fifty. So when exits come in bursts and the thread
 * runs on another CPU, main watches for the next exit for a short while instead of returning to its event loop.
 * Runs on: main.
 */
import { milliseconds } from '../base/clock.js';
import type { Bus } from '../bus/bus.js';
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

/** What the loop needs of a thread. */
export type LoopThread = Pick<
  VcpuThread,
  'start' | 'parked' | 'error' | 'onOtherCpu' | 'resume' | 'beginSpin' | 'endSpin' | 'spin' | 'kick' | 'stop'
>;

export interface VcpuLoopOptions {
  /** The vCPU's kvm_run mapping. */
  readonly run: { view(): Uint8Array };
  readonly thread: LoopThread;
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
  /** The thread has been told that main looks for its exits. */
  #watching = false;
  #comingBack = false;
  #pausing: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  #paused = false;

  constructor(options: VcpuLoopOptions) {
    this.#options = options;
    this.#run = new RunPage(options.run.view());
  }

  start(): void {
    this.#resumedAt = milliseconds();
    this.#options.thread.start();
  }

  /** Answers the exit the thread is parked at, if it is, and those that follow at once. */
  serve(): void {
    if (!this.#mayAnswer()) return;
    const burst = milliseconds() - this.#resumedAt < BURST_MS && this.#options.thread.onOtherCpu;
    if (burst) this.#watch();
    else this.#answer();
  }

  /**
   * One session of a burst. When its time is over the event loop gets a turn, and the next session follows: the thread is
   * not told that nobody watches, so it waits for a moment instead of falling asleep. If the turn takes longer the thread
   * rings as usual, so nothing is lost by not coming back.
   */
  #watch(): void {
    const { thread } = this.#options;
    const started = milliseconds();
    if (!this.#watching) thread.beginSpin();
    this.#watching = true;
    while (!this.#held && !this.#paused && thread.spin(SILENCE_NS) && this.#mayAnswer()) {
      this.#answer();
      if (!this.#held && this.#resumedAt - started >= SESSION_MS) {
        this.#comeBack();
        return;
      }
    }
    this.#unwatch();
    // An exit that came between the last look and endSpin() told nobody.
    if (this.#mayAnswer()) this.#comeBack();
  }

  #unwatch(): void {
    this.#watching = false;
    this.#options.thread.endSpin();
  }

  #comeBack(): void {
    if (this.#comingBack) return;
    this.#comingBack = true;
    setImmediate(() => {
      this.#comingBack = false;
      // On our own CPU the thread cannot run while main watches for it.
      if (this.#watching && !this.#options.thread.onOtherCpu) this.#unwatch();
      if (this.#watching) this.#watch();
      else this.serve();
    });
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

  /** Also ends a pause that has not been reached yet; whoever waits for it waits no longer. */
  resume(): void {
    this.#pausing?.resolve();
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
    this.#resumedAt = milliseconds();
    this.#options.thread.resume();
  }

  #end(end: VcpuEnd): void {
    this.#held = true;
    this.stats.count(end.kind);
    this.#options.onEnd(end);
  }
}
