/**
 * A virtual machine as an embedder holds it: created → running ⇄ paused → stopped, never back. Nothing outlives the
 * process; nothing is shared between two of them.
 * Runs on: main.
 */
import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { StateError, VmmError } from '../base/errors.js';
import { parseConfig, type ResolvedConfig, type VmConfig } from '../config/schema.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { VcpuEnd } from '../vcpu/loop.js';
import { buildGuest, type Guest } from './build.js';
import type { WaitOptions } from './console-log.js';
import { crashReport, describeEnd } from './crash.js';
import { type ExitInfo, type ExitReason, REASON_CODES } from './exit-info.js';
import { guestSaid } from './guest-words.js';
import { HaltWatch } from './halt-watch.js';
import type { Vcpu } from './machine.js';
import { collectStats, type VmStats } from './stats.js';

export type VmState = 'created' | 'running' | 'paused' | 'stopped';

/** Something the embedder should know and the VM can live with. */
export interface VmNotice {
  readonly message: string;
}

export interface VmEvents {
  state: [next: VmState, previous: VmState];
  notice: [VmNotice];
  exit: [ExitInfo];
}

export interface StopOptions {
  /** How long the guest may take to shut itself down, ms, before it is killed. */
  readonly timeout?: number;
}

export class VirtualMachine extends EventEmitter<VmEvents> implements AsyncDisposable {
  readonly name: string;
  #state: VmState = 'created';
  readonly #guest: Guest;
  readonly #watch: HaltWatch;
  #exit: ExitInfo | undefined;
  #resolveExit!: (info: ExitInfo) => void;
  /** Resolves with how the VM ended; never rejects. */
  readonly exited: Promise<ExitInfo>;
  #timer: NodeJS.Timeout | undefined;
  #abort: (() => void) | undefined;

  private constructor(private readonly config: ResolvedConfig) {
    super();
    this.name = config.name;
    this.exited = new Promise((resolve) => {
      this.#resolveExit = resolve;
    });
    this.#guest = buildGuest(config, {
      onReset: () => this.#end('reboot', 'the guest reset the machine'),
      onExit: (code) => this.#end('exit', `the guest exited with code ${code}`, { code }),
    });
    this.#guest.machine.onEnd = (vcpu, end) => this.#vcpuEnded(vcpu, end);
    this.#watch = new HaltWatch(this.#guest.watched, () => this.#halted());
  }

  /**
   * Checks the configuration, the images and this host, and lays everything out up to the first instruction.
   * @throws ConfigError, KernelError, HostError, or VmmError ERR_FILE; nothing is left behind then
   */
  static async create(config: VmConfig): Promise<VirtualMachine> {
    const resolved = parseConfig(config);
    resolved.signal?.throwIfAborted();
    return new VirtualMachine(resolved);
  }

  /** `create` and `start` in one. */
  static async start(config: VmConfig): Promise<VirtualMachine> {
    const vm = await VirtualMachine.create(config);
    return vm.start();
  }

  get state(): VmState {
    return this.#state;
  }
  /** The guest's serial console. Output waits for a reader up to a limit, then the oldest is dropped. */
  get serial(): Duplex {
    return this.#guest.console;
  }
  /** Bytes of console output dropped because nobody read them. */
  get serialDropped(): number {
    return this.#guest.console.dropped;
  }
  /** The kernel's command line as the guest sees it; undefined for a flat guest. */
  get cmdline(): string | undefined {
    return this.#guest.cmdline;
  }
  /** What was done to the guest because of this host; also sent as `notice` events. */
  get notices(): readonly string[] {
    return this.#guest.notices;
  }
  get memory(): GuestMemory {
    return this.#guest.machine.ram.memory;
  }

  /** Lets the guest run. Returns when it does, not when it has booted: see `waitFor`. */
  async start(): Promise<this> {
    this.#require('created');
    const { signal, timeouts } = this.config;
    signal?.throwIfAborted();
    if (signal) {
      const onAbort = (): void => this.#end('killed', 'the signal was aborted');
      signal.addEventListener('abort', onAbort, { once: true });
      this.#abort = () => signal.removeEventListener('abort', onAbort);
    }
    if (timeouts.run !== undefined) {
      const limit = timeouts.run;
      this.#timer = setTimeout(() => this.#end('timeout', `the guest ran for ${limit / 1000} s`), limit);
    }
    for (const message of this.#guest.notices) this.emit('notice', { message });
    this.#guest.phases.mark('started');
    this.#guest.machine.start();
    this.#watch.start();
    this.#enter('running');
    return this;
  }

  /** Stops every vCPU between two instructions. Resolves when they have stopped. */
  async pause(): Promise<void> {
    if (this.#state === 'paused') return;
    this.#require('running');
    this.#enter('paused');
    await this.#guest.machine.pause();
  }

  async resume(): Promise<void> {
    if (this.#state === 'running') return;
    this.#require('paused');
    this.#guest.machine.resume();
    this.#enter('running');
  }

  /**
   * Ends the VM. Without a power button yet (ACPI comes later) the guest cannot be asked, so this ends it at once,
   * like `kill()`; data the guest has not written stays unwritten.
   */
  stop(_options: StopOptions = {}): Promise<ExitInfo> {
    return this.kill();
  }

  /** Ends the VM at once. Idempotent. */
  async kill(): Promise<ExitInfo> {
    this.#end('killed', 'the VM was killed');
    return this.exited;
  }

  /** Resolves when the VM has ended. @throws the signal's reason on abort, which does not end the VM */
  async wait({ signal }: { readonly signal?: AbortSignal } = {}): Promise<ExitInfo> {
    if (!signal) return this.exited;
    signal.throwIfAborted();
    let onAbort!: () => void;
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
    });
    try {
      return await Promise.race([this.exited, aborted]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /**
   * Waits for text on the console. Like expect(1): each call looks at what earlier calls have not consumed.
   * @returns everything up to and including the match
   * @throws VmmError ERR_TIMEOUT, or ERR_GUEST_EXIT when the guest ends first
   */
  waitFor(pattern: string | RegExp, options?: WaitOptions): Promise<string> {
    return this.#guest.log.waitFor(pattern, options);
  }

  stats(): VmStats {
    return collectStats(this.#guest);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #require(wanted: VmState): void {
    if (this.#state !== wanted) throw new StateError(this.#state, wanted);
  }

  #enter(next: VmState): void {
    const previous = this.#state;
    this.#state = next;
    this.emit('state', next, previous);
  }

  #vcpuEnded(vcpu: Vcpu, end: VcpuEnd): void {
    const { log, machine, flat } = this.#guest;
    // What the guest wrote last decides what its end means.
    machine.page.deliver();
    if (end.kind === 'hlt' && flat) {
      this.#end('exit', 'the guest halted', { code: 0 });
      return;
    }
    if (end.kind === 'shutdown' && guestSaid(log, 'restarting')) {
      this.#end('reboot', 'the guest reset the machine');
      return;
    }
    const summary = describeEnd(end);
    const crash = crashReport(summary, vcpu.kvm, machine.ram.memory, log.tail(20));
    if (end.kind === 'device-error') {
      const error = new VmmError('ERR_VMM_HOST', summary, { cause: end.error });
      this.#end('error', summary, { crash, error });
    } else if (end.kind === 'shutdown') {
      this.#end('triple-fault', summary, { crash });
    } else {
      this.#end('kvm-error', summary, { crash, hint: this.#guest.crashHint(end) });
    }
  }

  #halted(): void {
    const { log, machine } = this.#guest;
    if (guestSaid(log, 'halted')) {
      this.#end('poweroff', 'the guest powered off');
      return;
    }
    const summary = 'every vCPU is halted with interrupts off: nothing can wake the guest';
    const crash = crashReport(summary, machine.vcpus[0]!.kvm, machine.ram.memory, log.tail(20));
    this.#end('halted', summary, { crash });
  }

  #end(reason: ExitReason, message: string, more: Partial<ExitInfo> = {}): void {
    if (this.#exit) return;
    const { log, machine, console, flat } = this.#guest;
    this.#watch.stop();
    clearTimeout(this.#timer);
    this.#abort?.();
    machine.halt();
    const panic =
      !flat && (reason === 'reboot' || reason === 'triple-fault') ? guestSaid(log, 'panic') : undefined;
    const final: ExitReason = panic ? 'panic' : reason;
    const text = panic ? `the guest's kernel panicked: ${panic}` : message;
    this.#exit = Object.freeze({ reason: final, code: REASON_CODES[final], message: text, ...more });
    log.end(`the VM ended: ${text}`);
    console.finish();
    this.#enter('stopped');
    this.emit('exit', this.#exit);
    this.#resolveExit(this.#exit);
    // After the callers had their answer: closing a VM takes the kernel milliseconds.
    setImmediate(() => machine[Symbol.dispose]());
  }
}
