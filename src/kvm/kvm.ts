/**
 * KVM's three kinds of file descriptor (api.rst §4): the system (/dev/kvm), a VM, a vCPU. One method per ioctl.
 * Runs on: main. A vCPU's ioctls may only be called while its thread is parked or not yet started.
 */
import { HostError } from '../base/errors.js';
import type { Gpa, Gsi, HostPtr } from '../base/units.js';
import { Fd } from '../host/fd.js';
import { ioctl, ioctlBuffer, O, open, tryIoctlBuffer } from '../host/libc.js';
import { Mapping } from '../host/mapping.js';
import { type CapName, caps, flags, type IoctlName, ioctls, KVM_API_VERSION, structs } from './abi.js';
import type { CStruct, Fields, StructInput, StructValue } from './cstruct.js';

/** errno E2BIG: the kernel has more entries than the buffer holds. */
const E2BIG = 7;
/** Most CPUID entries asked for before giving up; KVM_MAX_CPUID_ENTRIES of the kernel is 256. */
const MAX_CPUID_ENTRIES = 1024;

/** Most MSRs asked for before giving up; Linux 6.12 has some 500. */
const MAX_MSRS = 65_536;

/** How often a creation is interrupted before that is an error. */
const MAX_TRIES = 100;

export type KvmRegs = StructValue<typeof structs.kvm_regs.fields>;
export type KvmSregs = StructValue<typeof structs.kvm_sregs.fields>;
export type KvmSregsInput = StructInput<typeof structs.kvm_sregs.fields>;
export type KvmRegsInput = StructInput<typeof structs.kvm_regs.fields>;
export type CpuidEntry = StructValue<typeof structs.kvm_cpuid_entry2.fields>;
export interface Msr {
  readonly index: number;
  readonly data: bigint;
}

class KvmFd implements Disposable {
  constructor(protected readonly fd: Fd) {}

  protected call(name: IoctlName, argument: number | bigint = 0): number {
    return ioctl(name, this.fd.number, ioctls[name].request, argument);
  }
  protected pass(name: IoctlName, bytes: Uint8Array): number {
    return ioctlBuffer(name, this.fd.number, ioctls[name].request, bytes);
  }
  protected get<F extends Fields>(name: IoctlName, type: CStruct<F>): StructValue<F> {
    const bytes = new Uint8Array(type.size);
    this.pass(name, bytes);
    return type.decode(bytes);
  }
  protected set<F extends Fields>(name: IoctlName, type: CStruct<F>, value: StructInput<F>): void {
    this.pass(name, type.encode(value));
  }
  [Symbol.dispose](): void {
    this.fd[Symbol.dispose]();
  }
}

/** KVM takes the better part of a millisecond to list them. */
let supported: readonly CpuidEntry[] | undefined;

/** /dev/kvm. */
export class Kvm extends KvmFd {
  /** @throws HostError ERR_KVM_UNAVAILABLE or ERR_KVM_PERMISSION, with what to do about it */
  static open(path = '/dev/kvm'): Kvm {
    let kvm: Kvm;
    try {
      kvm = new Kvm(new Fd(open(path, O.RDWR), path));
    } catch (error) {
      throw explainOpen(path, error);
    }
    try {
      checkVersion(path, kvm.call('KVM_GET_API_VERSION'));
      return kvm;
    } catch (error) {
      kvm[Symbol.dispose]();
      throw explainOpen(path, error);
    }
  }

  /** 0 when absent; for counts (KVM_CAP_MAX_VCPUS) the number. @param which its name, or its number for one without */
  capability(which: CapName | number): number {
    return this.call('KVM_CHECK_EXTENSION', typeof which === 'number' ? which : caps[which]);
  }

  /** Every CPUID leaf this host's KVM can give to a guest; it stays the same, and is asked for once a process. */
  supportedCpuid(): readonly CpuidEntry[] {
    supported ??= this.#supportedCpuid();
    return supported;
  }

  #supportedCpuid(): readonly CpuidEntry[] {
    for (let room = 128; room <= MAX_CPUID_ENTRIES; room *= 2) {
      const { arg, request } = ioctls.KVM_GET_SUPPORTED_CPUID;
      const bytes = arg.room(room);
      const result = tryIoctlBuffer(this.fd.number, request, bytes);
      if (result >= 0) return arg.decode(bytes);
      if (result !== -E2BIG) this.pass('KVM_GET_SUPPORTED_CPUID', bytes); // throws with the errno
    }
    throw new HostError(
      `KVM_GET_SUPPORTED_CPUID: more than ${MAX_CPUID_ENTRIES} entries`,
      'KVM_GET_SUPPORTED_CPUID',
    );
  }

  /** The MSRs that a guest's owner may read and set, PMU and nesting ones among them. */
  msrIndices(): ReadonlySet<number> {
    const { arg, request } = ioctls.KVM_GET_MSR_INDEX_LIST;
    for (let room = 1024; room <= MAX_MSRS; room *= 4) {
      const bytes = arg.room(room);
      const result = tryIoctlBuffer(this.fd.number, request, bytes);
      if (result >= 0) return new Set(arg.decode(bytes).map(({ value }) => value));
      if (result !== -E2BIG) this.pass('KVM_GET_MSR_INDEX_LIST', bytes); // throws with the errno
    }
    throw new HostError(`KVM_GET_MSR_INDEX_LIST: more than ${MAX_MSRS} MSRs`, 'KVM_GET_MSR_INDEX_LIST');
  }

  createVm(): KvmVm {
    return new KvmVm(new Fd(this.#createVm(), 'vm'), this.call('KVM_GET_VCPU_MMAP_SIZE'));
  }

  /** Any signal of this process, a profiler's too, may interrupt it: then it has done nothing. */
  #createVm(): number {
    for (let tries = 1; ; tries += 1) {
      try {
        return this.call('KVM_CREATE_VM');
      } catch (error) {
        if (!(error instanceof HostError) || error.errnoName !== 'EINTR' || tries === MAX_TRIES) throw error;
      }
    }
  }
}

/** A virtual machine: its memory slots, interrupt controllers and eventfds. */
export class KvmVm extends KvmFd {
  constructor(
    fd: Fd,
    private readonly runSize: number, // bytes of a vCPU's kvm_run mapping
  ) {
    super(fd);
  }

  setUserMemoryRegion(slot: number, at: Gpa, size: number, host: HostPtr): void {
    this.set('KVM_SET_USER_MEMORY_REGION', structs.kvm_userspace_memory_region, {
      slot,
      guest_phys_addr: BigInt(at),
      memory_size: BigInt(size),
      userspace_addr: host,
    });
  }
  /** Three pages of guest-physical space that VT-x needs for real mode; not RAM, below 4 GiB. */
  setTssAddress(at: Gpa): void {
    this.call('KVM_SET_TSS_ADDR', at);
  }
  /** One more such page, for its identity map. */
  setIdentityMapAddress(at: Gpa): void {
    this.pass(
      'KVM_SET_IDENTITY_MAP_ADDR',
      ioctls.KVM_SET_IDENTITY_MAP_ADDR.arg.encode({ value: BigInt(at) }),
    );
  }
  createIrqchip(): void {
    this.call('KVM_CREATE_IRQCHIP');
  }
  /** An i8254 in the kernel; the dummy speaker makes it answer port 0x61 too. */
  createPit(): void {
    this.set('KVM_CREATE_PIT2', structs.kvm_pit_config, { flags: flags.KVM_PIT_SPEAKER_DUMMY });
  }
  /** From now on a write to `eventfd` raises one edge on `gsi`, without passing through this process. */
  assignIrqfd(eventfd: number, gsi: Gsi): void {
    this.set('KVM_IRQFD', structs.kvm_irqfd, { fd: eventfd, gsi });
  }
  /** From now on a guest's 32-bit write of `value` to `at` adds one to `eventfd`, and nothing else happens. */
  assignIoeventfd(eventfd: number, at: Gpa, value: number): void {
    this.set('KVM_IOEVENTFD', structs.kvm_ioeventfd, {
      datamatch: BigInt(value),
      addr: BigInt(at),
      len: 4,
      fd: eventfd,
      flags: flags.KVM_IOEVENTFD_FLAG_DATAMATCH,
    });
  }
  createVcpu(id: number): KvmVcpu {
    const fd = new Fd(this.call('KVM_CREATE_VCPU', id), `vcpu${id}`);
    try {
      return new KvmVcpu(fd, id, Mapping.shared(fd.number, this.runSize));
    } catch (error) {
      fd[Symbol.dispose]();
      throw error;
    }
  }
}

/** A virtual CPU and the page it shares with us. */
export class KvmVcpu extends KvmFd {
  constructor(
    fd: Fd,
    readonly id: number,
    readonly run: Mapping,
  ) {
    super(fd);
  }

  /** For the native thread, which issues KVM_RUN on it. */
  get descriptor(): number {
    return this.fd.number;
  }

  getRegs(): KvmRegs {
    return this.get('KVM_GET_REGS', structs.kvm_regs);
  }
  setRegs(regs: KvmRegsInput): void {
    this.set('KVM_SET_REGS', structs.kvm_regs, regs);
  }
  getSregs(): KvmSregs {
    return this.get('KVM_GET_SREGS', structs.kvm_sregs);
  }
  setSregs(sregs: KvmSregsInput): void {
    this.set('KVM_SET_SREGS', structs.kvm_sregs, sregs);
  }
  /** Control words and empty registers as after FNINIT (SDM vol. 1 §8.1.5) and with MXCSR's reset value. */
  resetFpu(): void {
    this.set('KVM_SET_FPU', structs.kvm_fpu, { fcw: 0x37f, mxcsr: 0x1f80 });
  }
  setCpuid(entries: readonly CpuidEntry[]): void {
    this.pass('KVM_SET_CPUID2', ioctls.KVM_SET_CPUID2.arg.encode(entries));
  }
  /** @throws HostError naming the first MSR that KVM refused: KVM_SET_MSRS stops there without an errno */
  setMsrs(msrs: readonly Msr[]): void {
    const done = this.pass('KVM_SET_MSRS', ioctls.KVM_SET_MSRS.arg.encode(msrs));
    const refused = msrs[done];
    if (refused)
      throw new HostError(`KVM_SET_MSRS: MSR 0x${refused.index.toString(16)} refused`, 'KVM_SET_MSRS');
  }
  /** Like `setMsrs`, but tells whether KVM took it. */
  trySetMsr(msr: Msr): boolean {
    return this.pass('KVM_SET_MSRS', ioctls.KVM_SET_MSRS.arg.encode([msr])) === 1;
  }
  /** undefined when KVM does not know the MSR, or not for this guest. */
  getMsr(index: number): bigint | undefined {
    const { arg } = ioctls.KVM_GET_MSRS;
    const bytes = arg.encode([{ index }]);
    return this.pass('KVM_GET_MSRS', bytes) === 1 ? arg.decode(bytes)[0]!.data : undefined;
  }
  getLapic(): Uint8Array {
    return this.get('KVM_GET_LAPIC', structs.kvm_lapic_state).regs;
  }
  setLapic(regs: Uint8Array): void {
    this.set('KVM_SET_LAPIC', structs.kvm_lapic_state, { regs });
  }
  getMpState(): number {
    return this.get('KVM_GET_MP_STATE', structs.kvm_mp_state).mp_state;
  }
  setMpState(state: number): void {
    this.set('KVM_SET_MP_STATE', structs.kvm_mp_state, { mp_state: state });
  }
  /**
   * Tells the guest that this vCPU was paused, so that its soft-lockup watchdog does not blame it (api.rst
   * KVM_KVMCLOCK_CTRL). Nothing to a guest that has no kvm-clock.
   */
  tellPaused(): void {
    try {
      this.call('KVM_KVMCLOCK_CTRL');
    } catch (error) {
      if (!(error instanceof HostError) || error.errnoName !== 'EINVAL') throw error; // no kvm-clock
    }
  }
  /** The guest's TSC frequency, kHz. */
  tscKhz(): number {
    return this.call('KVM_GET_TSC_KHZ');
  }
  /** Guest-virtual to guest-physical by the vCPU's own page tables; undefined when not mapped. */
  translate(linear: bigint): Gpa | undefined {
    const bytes = structs.kvm_translation.encode({ linear_address: linear });
    this.pass('KVM_TRANSLATE', bytes);
    const { valid, physical_address } = structs.kvm_translation.decode(bytes);
    return valid ? (Number(physical_address) as Gpa) : undefined;
  }

  override [Symbol.dispose](): void {
    this.run[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}

function checkVersion(path: string, version: number): void {
  if (version === KVM_API_VERSION) return;
  const message = `${path} speaks KVM API ${version}, not ${KVM_API_VERSION}`;
  throw new HostError(message, 'KVM_GET_API_VERSION', undefined, undefined, {
    code: 'ERR_KVM_UNAVAILABLE',
  });
}

function explainOpen(path: string, error: unknown): unknown {
  if (!(error instanceof HostError)) return error;
  const { syscall, errno, errnoName } = error;
  switch (errnoName) {
    case 'ENOENT':
    case 'ENODEV':
    case 'ENXIO':
      return new HostError(`${path}: no KVM on this machine (${errnoName})`, syscall, errno, errnoName, {
        code: 'ERR_KVM_UNAVAILABLE',
        hint: 'load the module (modprobe kvm_intel or kvm_amd), or switch on virtualization in the firmware or in the outer hypervisor',
        cause: error,
      });
    case 'ENOTTY': // only KVM knows the ioctl
    case 'EISDIR':
      return new HostError(`${path} is not a KVM device`, syscall, errno, errnoName, {
        code: 'ERR_KVM_UNAVAILABLE',
        hint: `it should be a character device 10:232; see ls -l ${path}, and what made it`,
        cause: error,
      });
    case 'EACCES':
    case 'EPERM':
      return new HostError(`${path}: permission denied`, syscall, errno, errnoName, {
        code: 'ERR_KVM_PERMISSION',
        hint: 'add yourself to the group that owns it: sudo usermod -aG kvm $USER, then log in again',
        cause: error,
      });
    default:
      return error;
  }
}
