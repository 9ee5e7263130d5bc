/**
 * A machine: the KVM VM, its RAM, buses, devices and vCPUs, wired top to bottom in one function. It knows how to run,
 * pause and end; what an end means is virtual-machine.ts's business.
 * Runs on: main.
 */

import { Resources } from '../base/resources.js';
import { type Gpa, gpa, gsi } from '../base/units.js';
import { Bus } from '../bus/bus.js';
import type { PageBacking } from '../host/mapping.js';
import type { Interrupt } from '../irq/interrupt.js';
import { Ioeventfd } from '../irq/ioeventfd.js';
import { Irqfd } from '../irq/irqfd.js';
import { flags } from '../kvm/abi.js';
import { type CpuidEntry, Kvm, type KvmVcpu, type KvmVm } from '../kvm/kvm.js';
import { Ram, type RamRange } from '../memory/ram.js';
import { guestCpuid, hasDeadlineTimer, offeredCpuid, withoutNesting } from '../vcpu/cpuid.js';
import { type VcpuEnd, VcpuLoop } from '../vcpu/loop.js';
import { SharedRegisterPage } from '../vcpu/register-page.js';
import { type EntryState, type MsrChange, prepareVcpu } from '../vcpu/state.js';
import { VcpuThread } from '../vcpu/thread.js';
import { Doorbell } from './doorbell.js';
import { checkCapabilities, checkCpuCount } from './requirements.js';

/** Four pages below 4 GiB that KVM uses on VT-x, in the MMIO gap (DESIGN.md §4). */
const IDENTITY_MAP_PAGE = gpa(0xfffb_c000);
const TSS_PAGES = gpa(0xfffb_d000);

const RFLAGS_IF = 1n << 9n;

export interface MachineOptions {
  readonly ram: readonly RamRange[];
  readonly pages: PageBacking;
  readonly cpus: number;
  /** For each vCPU the host CPUs that it may run on, by number; any for those it does not name. */
  readonly affinity?: readonly (readonly number[])[];
  /** In-kernel LAPIC, IOAPIC and PIC. Without them HLT leaves the guest at once. */
  readonly irqchip: boolean;
  readonly cpu?: CpuModel | undefined;
}

/** What makes a guest's CPU another than this host's KVM offers; without one, only nested virtualization is hidden. */
export interface CpuModel {
  /** Changes leaves before each vCPU's own are filled in. @throws ConfigError for what this host cannot give */
  adjust(offered: readonly CpuidEntry[]): readonly CpuidEntry[];
  readonly msrs?: readonly MsrChange[];
  /** Numbers of capabilities not to be asked for. */
  readonly sparedCapabilities?: readonly number[];
  /** @throws ConfigError for what this host's KVM lacks */
  check?(kvm: Kvm): void;
}

export interface Vcpu {
  readonly kvm: KvmVcpu;
  readonly thread: VcpuThread;
  readonly loop: VcpuLoop;
}

export class Machine implements Disposable {
  readonly pio = new Bus('pio');
  readonly mmio = new Bus('mmio');
  readonly ram: Ram;
  readonly vcpus: readonly Vcpu[];
  readonly page: SharedRegisterPage;
  readonly irqchip: boolean;
  /** The guest's TSC frequency, kHz. */
  readonly tscKhz: number;
  /** Called once per vCPU that stops for good. */
  onEnd: ((vcpu: Vcpu, end: VcpuEnd) => void) | undefined;

  readonly #resources: Resources;
  readonly #vm: KvmVm;
  readonly #kvm: Kvm;
  readonly #cpu: CpuModel | undefined;
  /** CPUID as every vCPU has it, but for its place. */
  readonly #leaves: readonly CpuidEntry[];
  readonly #doorbell: Doorbell;
  #cpuidSet = false;
  #pausedByOwner = false;
  #pausedAt = 0;
  #halting = false;

  /** @throws HostError when this host's KVM or memory does not do, ConfigError when it cannot give the CPU that was asked for */
  constructor(options: MachineOptions) {
    using resources = new Resources();
    this.#kvm = resources.use(Kvm.open());
    checkCapabilities(this.#kvm, options.cpu?.sparedCapabilities);
    checkCpuCount(this.#kvm, options.cpus);
    options.cpu?.check?.(this.#kvm);
    this.#cpu = options.cpu;
    const tscDeadline = options.irqchip && this.#kvm.capability('KVM_CAP_TSC_DEADLINE_TIMER') > 0;
    const offered = offeredCpuid(this.#kvm.supportedCpuid(), tscDeadline);
    this.#leaves = this.#cpu ? this.#cpu.adjust(offered) : withoutNesting(offered);
    // Unmapped last: KVM and the vCPU threads reach into it until they are gone.
    this.ram = resources.use(new Ram(options.ram, options.pages));
    this.#doorbell = resources.use(new Doorbell());
    this.page = new SharedRegisterPage(this.#doorbell.descriptor);
    const vm = resources.use(this.#kvm.createVm());
    this.#vm = vm;
    vm.setIdentityMapAddress(IDENTITY_MAP_PAGE);
    vm.setTssAddress(TSS_PAGES);
    this.irqchip = options.irqchip;
    // Memory first: once there are in-kernel devices, each change of the memory map waits milliseconds for the readers of
    // both (SRCU grace periods, virt/kvm/kvm_main.c).
    let slot = 0;
    for (const { base, size, host } of this.ram.slots()) vm.setUserMemoryRegion(slot++, base, size, host);
    if (options.irqchip) vm.createIrqchip();
    this.vcpus = Array.from({ length: options.cpus }, (_, index) => {
      const kvm = resources.use(vm.createVcpu(index));
      const thread = new VcpuThread(kvm, this.page, this.#doorbell.descriptor, options.affinity?.[index]);
      const loop = new VcpuLoop({
        run: kvm.run,
        thread,
        pio: this.pio,
        mmio: this.mmio,
        onEnd: (end) => this.onEnd?.(vcpu, end),
      });
      const vcpu: Vcpu = { kvm, thread, loop };
      return vcpu;
    });
    this.tscKhz = this.vcpus[0]!.kvm.tscKhz();
    // Threads end before anything they use.
    resources.defer(() => {
      for (const { loop } of this.vcpus) loop.stop();
    });
    this.#resources = resources.move();
  }

  /** A line of the interrupt controller; without one, a button connected to nothing. */
  interrupt(line: number): Interrupt {
    return this.irqchip ? this.#resources.use(new Irqfd(this.#vm, gsi(line))) : { raise() {} };
  }

  /** Whether the guest's CPUs have a timer that does without the PIT. */
  get hasDeadlineTimer(): boolean {
    return hasDeadlineTimer(this.#leaves);
  }

  /** An i8254, for a guest that needs it; in the kernel, with a thread of its own there. Needs `irqchip`. */
  addPit(): void {
    this.#vm.createPit();
  }

  /** Calls `onRing` soon after a guest's 32-bit write of `value` to `at`, which does not leave the kernel. */
  doorbell(at: Gpa, value: number, onRing: () => void): void {
    this.#resources.use(new Ioeventfd(this.#vm, at, value, onRing));
  }

  /**
   * Fills in every vCPU's state: the first starts at `entry`, the others wait for it.
   * @returns the first vCPU's CPUID, as KVM was told
   * @throws ConfigError when this host's KVM does not take an MSR that was asked for
   */
  prepare(entry: EntryState): readonly CpuidEntry[] {
    const msrs = this.#cpu?.msrs;
    const cpuids = this.vcpus.map(({ kvm }, index) => {
      const cpuid = guestCpuid(this.#leaves, { apicId: index, cpus: this.vcpus.length });
      prepareVcpu(kvm, { cpuid, msrs, lapic: this.irqchip, entry: index === 0 ? entry : undefined });
      return cpuid;
    });
    this.#cpuidSet = true;
    return cpuids[0]!;
  }

  start(): void {
    if (!this.#cpuidSet) throw new Error('start() before prepare()');
    this.#doorbell.listen(() => this.#look());
    for (const { loop } of this.vcpus) loop.start();
  }

  async pause(): Promise<void> {
    this.#pausedByOwner = true;
    this.#pausedAt = performance.now();
    await Promise.all(this.vcpus.map(({ loop }) => loop.pause()));
  }

  /** @returns how long it was paused, ms */
  resume(): number {
    this.#pausedByOwner = false;
    for (const { kvm, thread, loop } of this.vcpus) {
      if (thread.parked) kvm.tellPaused();
      loop.resume();
    }
    return performance.now() - this.#pausedAt;
  }

  /**
   * Stops all vCPUs and looks whether each is halted with interrupts off. If not, lets them go again; a machine that
   * is dead stays parked, because whoever asks will read its registers, which blocks while a vCPU is in KVM_RUN.
   * False as well when a vCPU ended meanwhile or somebody else paused the machine.
   */
  async isHaltedForGood(): Promise<boolean> {
    if (!this.irqchip || this.#pausedByOwner) return false;
    await Promise.all(this.vcpus.map(({ loop }) => loop.pause()));
    if (this.#halting || this.#pausedByOwner) return false;
    const dead = this.vcpus.every(({ kvm, thread }) => {
      if (!thread.parked) return false;
      const state = kvm.getMpState();
      if (state === flags.KVM_MP_STATE_UNINITIALIZED) return true; // an AP the guest never started
      return state === flags.KVM_MP_STATE_HALTED && (kvm.getRegs().rflags & RFLAGS_IF) === 0n;
    });
    if (!dead) for (const { loop } of this.vcpus) loop.resume();
    return dead;
  }

  /** Ends every vCPU thread; memory and descriptors stay for inspection until disposal. */
  halt(): void {
    this.#halting = true;
    for (const { loop } of this.vcpus) loop.stop();
    this.page.deliver();
  }

  [Symbol.dispose](): void {
    this.#resources[Symbol.dispose]();
  }

  #look(): void {
    for (const { loop } of this.vcpus) loop.serve();
    this.page.deliver();
  }
}
