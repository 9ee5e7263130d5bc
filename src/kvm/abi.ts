/**
 * The KVM API as declarations, in the order of <linux/kvm.h> and Linux Documentation/virt/kvm/api.rst. Header
 * names stay header names. Request numbers are derived, never typed in: an ioctl's identity is direction, number
 * and argument size (0x9f is both KVM_GET_PIT2 and KVM_GET_VCPU_EVENTS).
 * Runs on: main.
 */
import { array, Flexible, struct } from './cstruct.js';

// ---- structs, in the header's spelling ----

const u64 = struct('__u64', { value: 'u64' });

const kvm_segment = struct('kvm_segment', {
  base: 'u64',
  limit: 'u32',
  selector: 'u16',
  type: 'u8',
  present: 'u8',
  dpl: 'u8',
  db: 'u8',
  s: 'u8',
  l: 'u8',
  g: 'u8',
  avl: 'u8',
  unusable: 'u8',
  padding: 'u8',
});

const kvm_dtable = struct('kvm_dtable', { base: 'u64', limit: 'u16', padding: array('u16', 3) });

const kvm_regs = struct('kvm_regs', {
  rax: 'u64',
  rbx: 'u64',
  rcx: 'u64',
  rdx: 'u64',
  rsi: 'u64',
  rdi: 'u64',
  rsp: 'u64',
  rbp: 'u64',
  r8: 'u64',
  r9: 'u64',
  r10: 'u64',
  r11: 'u64',
  r12: 'u64',
  r13: 'u64',
  r14: 'u64',
  r15: 'u64',
  rip: 'u64',
  rflags: 'u64',
});

const kvm_sregs = struct('kvm_sregs', {
  cs: kvm_segment,
  ds: kvm_segment,
  es: kvm_segment,
  fs: kvm_segment,
  gs: kvm_segment,
  ss: kvm_segment,
  tr: kvm_segment,
  ldt: kvm_segment,
  gdt: kvm_dtable,
  idt: kvm_dtable,
  cr0: 'u64',
  cr2: 'u64',
  cr3: 'u64',
  cr4: 'u64',
  cr8: 'u64',
  efer: 'u64',
  apic_base: 'u64',
  interrupt_bitmap: array('u64', 4),
});

const kvm_fpu = struct('kvm_fpu', {
  fpr: array(array('u8', 16), 8),
  fcw: 'u16',
  fsw: 'u16',
  ftwx: 'u8',
  pad1: 'u8',
  last_opcode: 'u16',
  last_ip: 'u64',
  last_dp: 'u64',
  xmm: array(array('u8', 16), 16),
  mxcsr: 'u32',
  pad2: 'u32',
});

const kvm_lapic_state = struct('kvm_lapic_state', { regs: array('u8', 0x400) });

const kvm_cpuid_entry2 = struct('kvm_cpuid_entry2', {
  function: 'u32',
  index: 'u32',
  flags: 'u32',
  eax: 'u32',
  ebx: 'u32',
  ecx: 'u32',
  edx: 'u32',
  padding: array('u32', 3),
});
const kvm_cpuid2_header = struct('kvm_cpuid2', { nent: 'u32', padding: 'u32' });
const kvm_cpuid2 = new Flexible(kvm_cpuid2_header, kvm_cpuid_entry2, 'nent');

const kvm_msr_entry = struct('kvm_msr_entry', { index: 'u32', reserved: 'u32', data: 'u64' });
const kvm_msrs_header = struct('kvm_msrs', { nmsrs: 'u32', pad: 'u32' });
const kvm_msrs = new Flexible(kvm_msrs_header, kvm_msr_entry, 'nmsrs');

const kvm_msr_list_header = struct('kvm_msr_list', { nmsrs: 'u32' });
const kvm_msr_list = new Flexible(kvm_msr_list_header, struct('__u32', { value: 'u32' }), 'nmsrs');

const kvm_mp_state = struct('kvm_mp_state', { mp_state: 'u32' });

const kvm_pit_config = struct('kvm_pit_config', { flags: 'u32', pad: array('u32', 15) });

const kvm_userspace_memory_region = struct('kvm_userspace_memory_region', {
  slot: 'u32',
  flags: 'u32',
  guest_phys_addr: 'u64',
  memory_size: 'u64', // bytes; 0 deletes the slot
  userspace_addr: 'u64',
});

const kvm_irqfd = struct('kvm_irqfd', {
  fd: 'u32',
  gsi: 'u32',
  flags: 'u32',
  resamplefd: 'u32',
  pad: array('u8', 16),
});

const kvm_ioeventfd = struct('kvm_ioeventfd', {
  datamatch: 'u64',
  addr: 'u64',
  len: 'u32',
  fd: 's32',
  flags: 'u32',
  pad: array('u8', 36),
});

const kvm_translation = struct('kvm_translation', {
  linear_address: 'u64',
  physical_address: 'u64',
  valid: 'u8',
  writeable: 'u8',
  usermode: 'u8',
  pad: array('u8', 5),
});

/** The page a vCPU shares with its owner, up to the union of exit details. */
const kvm_run = struct('kvm_run', {
  request_interrupt_window: 'u8',
  immediate_exit: 'u8',
  padding1: array('u8', 6),
  exit_reason: 'u32',
  ready_for_interrupt_injection: 'u8',
  if_flag: 'u8',
  flags: 'u16',
  cr8: 'u64',
  apic_base: 'u64',
});

/** Members of kvm_run's union; each starts where `kvm_run` above ends. */
const kvm_run_io = struct('kvm_run.io', {
  direction: 'u8',
  size: 'u8',
  port: 'u16',
  count: 'u32',
  data_offset: 'u64',
});
const kvm_run_mmio = struct('kvm_run.mmio', {
  phys_addr: 'u64',
  data: array('u8', 8),
  len: 'u32',
  is_write: 'u8',
});
const kvm_run_fail_entry = struct('kvm_run.fail_entry', { hardware_entry_failure_reason: 'u64', cpu: 'u32' });
const kvm_run_internal = struct('kvm_run.internal', {
  suberror: 'u32',
  ndata: 'u32',
  data: array('u64', 16),
});
const kvm_run_system_event = struct('kvm_run.system_event', {
  type: 'u32',
  ndata: 'u32',
  data: array('u64', 16),
});

export const structs = {
  kvm_segment,
  kvm_dtable,
  kvm_regs,
  kvm_sregs,
  kvm_fpu,
  kvm_lapic_state,
  kvm_cpuid_entry2,
  kvm_cpuid2_header,
  kvm_msr_entry,
  kvm_msrs_header,
  kvm_msr_list_header,
  kvm_mp_state,
  kvm_pit_config,
  kvm_userspace_memory_region,
  kvm_irqfd,
  kvm_ioeventfd,
  kvm_translation,
  kvm_run,
  kvm_run_io,
  kvm_run_mmio,
  kvm_run_fail_entry,
  kvm_run_internal,
  kvm_run_system_event,
} as const;

// ---- requests ----

type Direction = 'none' | 'write' | 'read' | 'readwrite';
interface Sized {
  readonly size: number;
}

/** One request. `arg` is what its pointer argument points to; null when it takes a number or nothing. */
export interface Ioctl<D extends Direction = Direction, S extends Sized | null = Sized | null> {
  readonly direction: D;
  readonly nr: number;
  readonly arg: S;
  readonly request: number;
}

const KVMIO = 0xae;
const DIRECTION_BITS = { none: 0, write: 1, read: 2, readwrite: 3 } as const;

function define<D extends Direction, S extends Sized | null>(direction: D, nr: number, arg: S): Ioctl<D, S> {
  // _IOC(dir, type, nr, size), asm-generic/ioctl.h. `>>> 0`: bit 31 would make it negative.
  const request = ((DIRECTION_BITS[direction] << 30) | ((arg?.size ?? 0) << 16) | (KVMIO << 8) | nr) >>> 0;
  return { direction, nr, arg, request };
}
const io = (nr: number) => define('none', nr, null);
const iow = <S extends Sized>(nr: number, arg: S) => define('write', nr, arg);
const ior = <S extends Sized>(nr: number, arg: S) => define('read', nr, arg);
const iowr = <S extends Sized>(nr: number, arg: S) => define('readwrite', nr, arg);

export const ioctls = {
  // /dev/kvm
  KVM_GET_API_VERSION: io(0x00),
  KVM_CREATE_VM: io(0x01),
  KVM_GET_MSR_INDEX_LIST: iowr(0x02, kvm_msr_list),
  KVM_CHECK_EXTENSION: io(0x03),
  KVM_GET_VCPU_MMAP_SIZE: io(0x04),
  KVM_GET_SUPPORTED_CPUID: iowr(0x05, kvm_cpuid2),
  // a VM
  KVM_CREATE_VCPU: io(0x41),
  KVM_SET_USER_MEMORY_REGION: iow(0x46, kvm_userspace_memory_region),
  KVM_SET_TSS_ADDR: io(0x47),
  KVM_SET_IDENTITY_MAP_ADDR: iow(0x48, u64),
  KVM_CREATE_IRQCHIP: io(0x60),
  KVM_IRQFD: iow(0x76, kvm_irqfd),
  KVM_CREATE_PIT2: iow(0x77, kvm_pit_config),
  KVM_IOEVENTFD: iow(0x79, kvm_ioeventfd),
  // a vCPU
  KVM_RUN: io(0x80),
  KVM_GET_REGS: ior(0x81, kvm_regs),
  KVM_SET_REGS: iow(0x82, kvm_regs),
  KVM_GET_SREGS: ior(0x83, kvm_sregs),
  KVM_SET_SREGS: iow(0x84, kvm_sregs),
  KVM_TRANSLATE: iowr(0x85, kvm_translation),
  KVM_GET_MSRS: iowr(0x88, kvm_msrs),
  KVM_SET_MSRS: iow(0x89, kvm_msrs),
  KVM_GET_FPU: ior(0x8c, kvm_fpu),
  KVM_SET_FPU: iow(0x8d, kvm_fpu),
  KVM_GET_LAPIC: ior(0x8e, kvm_lapic_state),
  KVM_SET_LAPIC: iow(0x8f, kvm_lapic_state),
  KVM_SET_CPUID2: iow(0x90, kvm_cpuid2),
  KVM_GET_MP_STATE: ior(0x98, kvm_mp_state),
  KVM_SET_MP_STATE: iow(0x99, kvm_mp_state),
  KVM_GET_TSC_KHZ: io(0xa3),
  KVM_KVMCLOCK_CTRL: io(0xad),
} as const;
export type IoctlName = keyof typeof ioctls;

// ---- constants ----

export const KVM_API_VERSION = 12;

/** KVM_CHECK_EXTENSION's arguments that the monitor asks for. */
export const caps = {
  KVM_CAP_IRQCHIP: 0,
  KVM_CAP_USER_MEMORY: 3,
  KVM_CAP_SET_TSS_ADDR: 4,
  KVM_CAP_EXT_CPUID: 7,
  KVM_CAP_NR_VCPUS: 9,
  KVM_CAP_NR_MEMSLOTS: 10,
  KVM_CAP_MP_STATE: 14,
  KVM_CAP_IRQFD: 32,
  KVM_CAP_PIT2: 33,
  KVM_CAP_IOEVENTFD: 36,
  KVM_CAP_SET_IDENTITY_MAP_ADDR: 37,
  KVM_CAP_MAX_VCPUS: 66,
  KVM_CAP_TSC_DEADLINE_TIMER: 72,
  KVM_CAP_KVMCLOCK_CTRL: 76,
  KVM_CAP_GET_TSC_KHZ: 61,
  KVM_CAP_IMMEDIATE_EXIT: 136,
} as const;
export type CapName = keyof typeof caps;

/** kvm_run.exit_reason. */
export const exitReasons = {
  KVM_EXIT_UNKNOWN: 0,
  KVM_EXIT_EXCEPTION: 1,
  KVM_EXIT_IO: 2,
  KVM_EXIT_HYPERCALL: 3,
  KVM_EXIT_DEBUG: 4,
  KVM_EXIT_HLT: 5,
  KVM_EXIT_MMIO: 6,
  KVM_EXIT_IRQ_WINDOW_OPEN: 7,
  KVM_EXIT_SHUTDOWN: 8,
  KVM_EXIT_FAIL_ENTRY: 9,
  KVM_EXIT_INTR: 10,
  KVM_EXIT_INTERNAL_ERROR: 17,
  KVM_EXIT_SYSTEM_EVENT: 24,
} as const;

export const internalErrors = {
  KVM_INTERNAL_ERROR_EMULATION: 1,
  KVM_INTERNAL_ERROR_SIMUL_EX: 2,
  KVM_INTERNAL_ERROR_DELIVERY_EV: 3,
  KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON: 4,
} as const;

export const flags = {
  KVM_MEM_READONLY: 2,
  KVM_CPUID_FLAG_SIGNIFCANT_INDEX: 1,
  KVM_IRQFD_FLAG_DEASSIGN: 1,
  KVM_IOEVENTFD_FLAG_DATAMATCH: 1,
  KVM_IOEVENTFD_FLAG_PIO: 2,
  KVM_IOEVENTFD_FLAG_DEASSIGN: 4,
  KVM_PIT_SPEAKER_DUMMY: 1,
  KVM_MP_STATE_RUNNABLE: 0,
  KVM_MP_STATE_UNINITIALIZED: 1,
  KVM_MP_STATE_HALTED: 3,
  KVM_EXIT_IO_IN: 0,
  KVM_EXIT_IO_OUT: 1,
} as const;
