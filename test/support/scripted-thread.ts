/**
 * A vCPU thread without a CPU: it "runs" to the next exit of a script, parks there, and goes on when it is resumed. As
 * native/vcpu_thread.h has it, a kick makes it park with EINTR, after the exit in progress if there is one.
 */
import type { LoopThread } from '../../src/vcpu/loop.js';
import { RunPageModel } from './run-page.js';

const EINTR = 4;

export class ScriptedThread implements LoopThread {
  readonly page = new RunPageModel();
  /** Exits still to come; each fills the page. */
  readonly script: ((page: RunPageModel) => void)[] = [];
  readonly log: string[] = [];
  /** Whether the next exit comes at once, or when `step` is called. */
  eager = true;
  onOtherCpu = false;
  parked = false;
  error = 0;
  #kicked = false;
  #stopped = false;

  /** Runs up to the next exit, if there is one. */
  step(): void {
    if (this.parked || this.#stopped) return;
    if (this.#kicked) {
      this.#kicked = false;
      this.error = EINTR;
      this.parked = true;
      return;
    }
    const exit = this.script.shift();
    if (!exit) return;
    this.error = 0;
    exit(this.page);
    this.parked = true;
  }

  start(): void {
    this.log.push('start');
    if (this.eager) this.step();
  }
  resume(): void {
    if (!this.parked) throw new Error('resumed a thread that runs');
    this.log.push('resume');
    this.parked = false;
    if (this.eager) this.step();
  }
  beginSpin(): void {
    this.log.push('begin spin');
  }
  endSpin(): void {
    this.log.push('end spin');
  }
  spin(): boolean {
    return this.parked;
  }
  kick(): void {
    this.log.push('kick');
    this.#kicked = true;
    this.step();
  }
  stop(): void {
    this.#stopped = true;
    this.parked = false;
  }
}
