/**
 * A virtual machine as an embedder holds it: created → running ⇄ paused → stopped, never back. Nothing outlives the
 * process; nothing is shared between two of them.
 * Runs on: main.
 */
import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import type { ExecOptions, ExecResult, SpawnOptions } from '../agent/exec.js';
import type { GuestFiles } from '../agent/guest-files.js';
import type { GuestForward, GuestForwardOptions } from '../agent/guest-ports.js';
import type { GuestProcess } from '../agent/guest-process.js';
import { orAborted } from '../base/abort.js';
import { StateError, VmmError } from '../base/errors.js';
import { parseConfig, type ResolvedConfig, type VmConfig } from '../config/schema.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { VcpuEnd } from '../vcpu/loop.js';
import { buildGuest, type Guest, type GuestRequests } from './build.js';
import type { WaitOptions } from './console-log.js';
import { type ContentPlanner, loadPlanner } from './content.js';
import { type ExitInfo, type ExitReason, REASON_CODES } from './exit-info.js';
import type { GuestConsole } from './guest-console.js';
import { agentOf, type GuestDevices, openDevices } from './guest-devices.js';
import type { GuestDisk } from './guest-disk.js';
import type { GuestNet } from './guest-net.js';
import type { GuestVsock } from './guest-vsock.js';
import { guestSaid } from './guest-words.js';
import { HaltWatch } from './halt-watch.js';
import { withOptionHint } from './kernel-options.js';
import type { CpuModel, Vcpu } from './machine.js';
import { askToShutDown, SHUTDOWN_TIMEOUT_MS } from './shutdown.js';
import { collectStats, type VmStats } from './stats.js';
import { meaningOfEnd, meaningOfHalt } from './vcpu-end.js';

/** Notices a guest can cause are told this often at most. */
const MAX_NOTICES = 100;

/** `created` → `running` ⇄ `paused` → `stopped`; `stopped` is for good, and may follow any of them. */
export type VmState = 'created' | 'running' | 'paused' | 'stopped';

/** Something the embedder should know and the VM can live with. */
export interface VmNotice {
  /** One sentence. */
  readonly message: string;
}

/** Events and their arguments. All are emitted on the event loop, none before `start()`. */
export interface VmEvents {
  /** After each change. */
  state: [next: VmState, previous: VmState];
  /** At the start, what `notices` has; later, what a device or the guest did wrong, a limited number of times. */
  notice: [VmNotice];
  /** Once, after the last `state`. */
  exit: [ExitInfo];
}

/** How `stop` ends a VM. */
export interface StopOptions {
  /** How long the guest may take to shut itself down, ms, before it is killed. 5 s unless given. */
  readonly timeout?: number;
}

/**
 * One virtual machine. Make it with `create`, let it run with `start`; `await using` ends it. How it ended is a result
 * (`exited`), not an error; errors are for what keeps it from starting and for calls that do not fit.
 */
export class VirtualMachine extends EventEmitter<VmEvents> implements AsyncDisposable {
  /** The configured name, for messages. */
  readonly name: string;
  #state: VmState = 'created';
  readonly #guest: Guest;
  readonly #watch: HaltWatch;
  #exit: ExitInfo | undefined;
  #resolveExit!: (info: ExitInfo) => void;
  /** Resolves with how the VM ended; never rejects. */
  readonly exited: Promise<ExitInfo>;
  #resolveClosed!: () => void;
  readonly #closed = new Promise<void>((resolve) => {
    this.#resolveClosed = resolve;
  });
  #noticed = 0;
  #timer: NodeJS.Timeout | undefined;
  #abort: (() => void) | undefined;

  private constructor(
    private readonly config: ResolvedConfig,
    private readonly devices: GuestDevices,
    plan: ContentPlanner,
    cpu: CpuModel | undefined,
  ) {
    super();
    this.name = config.name;
    this.exited = new Promise((resolve) => {
      this.#resolveExit = resolve;
    });
    const requests: GuestRequests = {
      onFault: (device, fault) => this.#notice(`${device.name}: the guest broke a rule: ${fault.message}`),
      onError: (device, error) => this.#deviceFailed(device.name, error),
      onReset: () => this.#end('reboot', 'the guest reset the machine'),
      onPowerOff: () => this.#end('poweroff', 'the guest powered off'),
      onExit: (code) => this.#end('exit', `the guest exited with code ${code}`, { code }),
    };
    this.#guest = buildGuest(config, plan, devices, requests, cpu);
    this.#guest.machine.onEnd = (vcpu, end) => this.#vcpuEnded(vcpu, end);
    this.#watch = new HaltWatch(this.#guest.watched, () => this.#end(...meaningOfHalt(this.#guest)));
  }

  /**
   * Checks the configuration, the images and this host, and lays everything out up to the first instruction.
   * @throws ConfigError, KernelError, HostError, or VmmError ERR_FILE; nothing is left behind then
   */
  static async create(config: VmConfig): Promise<VirtualMachine> {
    const resolved = parseConfig(config);
    resolved.signal?.throwIfAborted();
    const plan = await loadPlanner(resolved);
    const cpu = resolved.cpu && (await import('./cpu.js')).loadCpuModel(resolved);
    let vm: VirtualMachine | undefined;
    const devices = await openDevices(resolved, (disk, error) => {
      if (vm) vm.#notice(`${disk}: ${error instanceof Error ? error.message : String(error)}`);
    });
    try {
      vm = new VirtualMachine(resolved, devices, plan, cpu);
      return vm;
    } catch (error) {
      await devices[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** `create` and `start` in one. @throws as they do; nothing is left behind then */
  static async start(config: VmConfig): Promise<VirtualMachine> {
    const vm = await VirtualMachine.create(config);
    return vm.start();
  }

  /** What it does now; changes are told by `state` events. */
  get state(): VmState {
    return this.#state;
  }
  /** The guest's serial console. Output waits for a reader up to a limit, then the oldest is dropped. */
  get serial(): Duplex {
    return this.#guest.console;
  }
  /** The virtio console, /dev/hvc0 in the guest; undefined unless the configuration has one. */
  get console(): GuestConsole | undefined {
    return this.devices.console;
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
    return [...this.devices.notices, ...this.#guest.notices];
  }
  /** The block devices, by id. */
  get disks(): ReadonlyMap<string, GuestDisk> {
    return this.devices.disks;
  }
  /** The network cards, by their id: `net0` for the first unless it was given one. */
  get nets(): ReadonlyMap<string, GuestNet> {
    return this.devices.nets;
  }
  /** Connections with programs in the guest; undefined unless the configuration has a socket device. */
  get vsock(): GuestVsock | undefined {
    return this.devices.vsock;
  }
  /**
   * Guest-physical memory. A running guest changes it under the reader: pause first for a consistent look. Gone when the VM
   * has been disposed.
   */
  get memory(): GuestMemory {
    return this.#guest.machine.ram.memory;
  }

  /**
   * Lets the guest run. Resolves when it does, not when it has booted: see `waitFor`. From now on the VM keeps the event loop
   * alive until it ends.
   * @throws StateError when it was started before; the configured signal's reason when that is aborted
   */
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
    for (const message of this.notices) this.emit('notice', { message });
    this.#guest.phases.mark('started');
    this.#guest.machine.start();
    this.#watch.start();
    this.#enter('running');
    return this;
  }

  /**
   * Stops every vCPU between two instructions. Resolves when they have stopped, at once if they had. Time in the guest goes on:
   * its clocks jump at `resume`.
   * @throws StateError before the start and after the end
   */
  async pause(): Promise<void> {
    if (this.#state === 'paused') return;
    this.#require('running');
    this.#enter('paused');
    await this.#guest.machine.pause();
  }

  /**
   * Lets the vCPUs go on; nothing happens if they do. After a pause of a second or more the agent then sets the guest's wall clock right.
   * @throws StateError before the start and after the end
   */
  async resume(): Promise<void> {
    if (this.#state === 'running') return;
    this.#require('paused');
    const paused = this.#guest.machine.resume();
    this.#enter('running');
    void this.devices.vsock?.agent.wasPaused(paused);
  }

  /**
   * Asks the guest to shut down, by its agent or as the power button of a PC does, and ends the VM if it has not within the timeout. A
   * guest that cannot be asked is ended at once, like `kill()`: one that is paused, whose kernel has no ACPI or has not
   * set it up yet. The ExitInfo tells: `poweroff` or `killed`, and the message why. Idempotent.
   */
  async stop({ timeout = SHUTDOWN_TIMEOUT_MS }: StopOptions = {}): Promise<ExitInfo> {
    if (this.#state === 'stopped') return this.exited;
    const asked = performance.now();
    const agent = this.devices.vsock?.agent;
    if (this.#state === 'running') await agent?.askToPowerOff(this.exited, timeout, this.config.agent);
    if (this.#exit) return this.exited;
    const { power } = this.#guest;
    if (this.#state !== 'running') this.#end('killed', `the VM was ${this.#state} and was killed`);
    else if (!power?.listening) this.#end('killed', 'the guest cannot be asked to shut down and was killed');
    else if (!(await askToShutDown(power, this.exited, Math.max(0, timeout - (performance.now() - asked))))) {
      const message = `the guest did not shut down within ${timeout / 1000} s of being asked and was killed`;
      this.#end('killed', message);
    }
    return this.exited;
  }

  /** Ends the VM at once. Idempotent. */
  async kill(): Promise<ExitInfo> {
    this.#end('killed', 'the VM was killed');
    return this.exited;
  }

  /** Resolves when the VM has ended. @throws the signal's reason on abort, which does not end the VM */
  async wait({ signal }: { readonly signal?: AbortSignal } = {}): Promise<ExitInfo> {
    return orAborted(this.exited, signal);
  }

  /**
   * Waits for the guest's agent to answer, for a program in the guest to listen at a TCP port, or for text on the serial console. Like expect(1): each call looks at what earlier calls have not consumed, and calls
   * that wait at once are served in turn. Only the last 256 Ki characters are kept.
   * @param pattern a string as it stands, or a regular expression whose flags g and y mean nothing here
   * @returns everything up to and including the match
   * @throws VmmError ERR_TIMEOUT, or ERR_GUEST_EXIT when the guest ends first
   */
  async waitFor(
    pattern: string | RegExp | { readonly agent: true } | { readonly port: number },
    options?: WaitOptions,
  ): Promise<string> {
    if (typeof pattern === 'object' && 'agent' in pattern) return agentOf(this.devices).ready(options);
    if (typeof pattern === 'object' && 'port' in pattern)
      return agentOf(this.devices).ports.listening(pattern.port, options);
    return this.#guest.log.waitFor(pattern, options);
  }

  /**
   * Runs a program in the guest to its end: a text by /bin/sh, or a list, a program and its arguments. Waits for the guest to boot.
   * @throws ExecError; GuestCallError when it cannot be started; VmmError ERR_AGENT, ERR_GUEST_EXIT,
   *   ERR_VSOCK_RESET when its kernel took the device down; the signal's reason; ConfigError
   */
  async exec(command: string | readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return agentOf(this.devices).exec(command, options);
  }
  /** Starts a program in the guest, for those who talk with it. @throws as `exec`; what goes wrong later, `exited` tells */
  async spawn(command: string | readonly string[], options: SpawnOptions = {}): Promise<GuestProcess> {
    return agentOf(this.devices).spawn(command, options);
  }
  /** Files of the guest. @throws ConfigError without `agent` or `vsock` */
  get fs(): GuestFiles {
    return agentOf(this.devices).files;
  }

  /**
   * Listens on this host, at a TCP port or a Unix socket, and leads every connection to a TCP port of the guest, by its loopback: it needs
   * no network card, and the program in the guest may listen at 127.0.0.1 alone.
   * @throws ConfigError; HostError when the host's port or path cannot be had
   */
  async forward(options: GuestForwardOptions): Promise<GuestForward> {
    return agentOf(this.devices).ports.forward(options);
  }

  /** Counters and times so far; to be had after the end as well. */
  stats(): VmStats {
    return collectStats(this.#guest);
  }

  /** Ends the VM and waits until it holds nothing on the host any more: disks are unlocked, memory is given back. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#closed;
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
    this.#guest.machine.page.deliver();
    this.#end(...meaningOfEnd(this.#guest, vcpu, end));
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
    const end: ExitInfo = { reason: final, code: REASON_CODES[final], message: text, ...more };
    this.#exit = Object.freeze(withOptionHint(end, this.config, this.#guest.outputBytes === 0, panic));
    log.end(`the VM ended: ${text}`);
    console.finish();
    this.devices.console?.finish();
    this.devices.vsock?.finish(text);
    this.#enter('stopped');
    this.emit('exit', this.#exit);
    this.#resolveExit(this.#exit);
    // After the callers had their answer: closing a VM takes the kernel milliseconds.
    setImmediate(() => void this.#close().then(this.#resolveClosed));
  }

  /** Memory goes last: the host's I/O in flight and the vCPUs reach into it until they are gone. */
  async #close(): Promise<void> {
    const { machine, virtio } = this.#guest;
    for (const { device, transport } of virtio) {
      try {
        await transport.close();
      } catch (error) {
        this.#notice(`${device.name}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    machine[Symbol.dispose]();
  }

  #notice(message: string): void {
    if (this.#noticed < MAX_NOTICES) this.emit('notice', { message });
    this.#noticed += 1;
  }

  #deviceFailed(name: string, cause: unknown): void {
    const summary = `${name} failed: ${cause instanceof Error ? cause.message : String(cause)}`;
    this.#end('error', summary, { error: new VmmError('ERR_VMM_HOST', summary, { cause }) });
  }
}
