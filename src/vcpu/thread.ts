/**
 * A vCPU's native thread (native/vcpu_thread.h) as main sees it. Between `parked` and `resume()` the kvm_run page
 * and the vCPU's ioctls belong to main; otherwise to the thread.
 * Runs on: main.
 */
import { HostError } from '../base/errors.js';
import { addon, type NativeVcpuThread } from '../host/addon.js';
import type { KvmVcpu } from '../kvm/kvm.js';
import type { SharedRegisterPage } from './register-page.js';

/** Words of native/vcpu_thread.h's Control. */
const CONTROL = {
  STATE: 0,
  SLEEPING: 1,
  SPINNING: 2,
  ERROR: 3,
  CPU: 4,
  STOP: 5,
  ANSWERED: 6,
  WORDS: 8,
} as const;
const STATE = { CREATED: 0, RUNNING: 1, PARKED: 2, ENDED: 3 } as const;

/** As sched_setaffinity(2) takes it. */
function cpuMask(cpus: readonly number[]): Uint8Array {
  const mask = new Uint8Array(8 * (Math.floor(Math.max(...cpus) / 64) + 1));
  for (const cpu of cpus) mask[cpu >>> 3]! |= 1 << (cpu & 7);
  return mask;
}

export class VcpuThread {
  readonly #control = new Uint32Array(CONTROL.WORDS);
  readonly #native: NativeVcpuThread;

  /**
   * @param eventfd told whenever the thread parks and main is not spinning for it
   * @param cpus numbers of the host CPUs that it may run on; any, unless given
   */
  constructor(
    vcpu: KvmVcpu,
    page: SharedRegisterPage | undefined,
    eventfd: number,
    cpus: readonly number[] = [],
  ) {
    this.#native = new addon.VcpuThread(
      vcpu.descriptor,
      vcpu.run.address,
      page?.native,
      this.#control.buffer,
      eventfd,
    );
    if (cpus.length > 0) this.#native.setAffinity(cpuMask(cpus));
  }

  /** @throws HostError when the system gives no thread, or none on these CPUs */
  start(): void {
    try {
      this.#native.start();
    } catch (error) {
      const message = `a vCPU's thread: ${(error as Error).message}`;
      throw new HostError(message, 'pthread_create', undefined, undefined, { cause: error });
    }
  }

  /** Whether the thread has stopped at an exit that main must answer. */
  get parked(): boolean {
    return Atomics.load(this.#control, CONTROL.STATE) === STATE.PARKED;
  }
  /** errno of KVM_RUN at the last park; 0 when kvm_run tells the exit. */
  get error(): number {
    return Atomics.load(this.#control, CONTROL.ERROR);
  }
  /** Exits that were answered from the register page. */
  get answered(): number {
    const high = Atomics.load(this.#control, CONTROL.ANSWERED + 1);
    return high * 2 ** 32 + Atomics.load(this.#control, CONTROL.ANSWERED);
  }
  /** Whether the thread last parked on another host CPU than the one we are on: only then can spinning help. */
  get onOtherCpu(): boolean {
    return Atomics.load(this.#control, CONTROL.CPU) !== addon.currentCpu();
  }

  /** Hands the vCPU back; the guest goes on. */
  resume(): void {
    Atomics.store(this.#control, CONTROL.STATE, STATE.RUNNING);
    if (Atomics.load(this.#control, CONTROL.SLEEPING) !== 0) this.#native.wake();
  }

  /** Announces that main watches the state itself. Must be ended, with a look at `parked` after it. */
  beginSpin(): void {
    Atomics.store(this.#control, CONTROL.SPINNING, 1);
  }
  endSpin(): void {
    Atomics.store(this.#control, CONTROL.SPINNING, 0);
  }
  /** Waits for the next exit without sleeping. @returns true when the thread parked in time */
  spin(nanoseconds: number): boolean {
    return this.#native.spin(nanoseconds);
  }

  /** Makes the thread park with EINTR, wherever it is; an exit in progress is completed first. */
  kick(): void {
    this.#native.kick();
  }
  /** Ends the thread and waits for it: some tens of microseconds. Idempotent. */
  stop(): void {
    this.#native.stop();
  }
}
