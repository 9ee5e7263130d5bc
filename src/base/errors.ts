/**
 * The error family. Every error the library throws on purpose is a VmmError with a stable `code` and,
 * where there is something the reader can do, a `hint`. Classes say who must act: ConfigError the caller,
 * HostError the owner of the machine, KernelError whoever chose the guest, StateError the calling code.
 * GuestFault is thrown by devices and never leaves the library: the virtio transport turns it into DEVICE_NEEDS_RESET.
 */

/** Stable, documented values of `VmmError.code`. */
export type VmmErrorCode =
  | 'ERR_VMM_CONFIG' // an option is wrong: see `issues`
  | 'ERR_VMM_HOST' // a system call failed
  | 'ERR_KVM_UNAVAILABLE' // no /dev/kvm
  | 'ERR_KVM_PERMISSION' // /dev/kvm may not be opened
  | 'ERR_KVM_CAPABILITY' // this KVM lacks something the monitor needs
  | 'ERR_KERNEL_FORMAT' // the kernel image is damaged or not for this machine
  | 'ERR_KERNEL_HOST' // the kernel image is sound, but cannot run on this host's KVM
  | 'ERR_FILE' // a file named by the configuration cannot be read
  | 'ERR_VMM_STATE' // the call does not fit the VM's state
  | 'ERR_TIMEOUT' // a wait ended without its event
  | 'ERR_GUEST_EXIT' // the guest ended while something waited for it
  | 'ERR_VSOCK_REFUSED' // nobody in the guest listens at the port
  | 'ERR_VSOCK_RESET' // the guest broke off a connection
  | 'ERR_AGENT' // no agent in the guest, or one that does not speak our language
  | 'ERR_GUEST_CALL' // the guest's kernel refused what the agent did for us
  | 'ERR_NO_VM' // no VM of that name runs
  | 'ERR_CONTROL' // the monitor of a named VM does not answer, or speaks another language
  | 'ERR_EXEC' // a program in the guest failed, or wrote too much
  | 'ERR_VMM_GUEST_FAULT'; // for devices: the guest broke a rule

/** What any error of the family may carry besides its message. */
export interface VmmErrorOptions {
  /** What the reader can do about it, one sentence or command. */
  readonly hint?: string | undefined;
  /** The error that led to this one. */
  readonly cause?: unknown;
}

/**
 * The root of the family. `message` is a lower-case fragment that reads after a colon, with the value that was wrong; `code`
 * is what programs branch on: it survives where the class does not, as between worker threads.
 */
export class VmmError extends Error {
  /** What the reader can do about it, one sentence or command. */
  readonly hint: string | undefined;

  constructor(
    readonly code: VmmErrorCode,
    message: string,
    options: VmmErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.hint = options.hint;
  }
}

/** One wrong option. */
export interface ConfigIssue {
  /** Where, as written in a configuration: `disks.1.id`; empty when no single option is to blame. */
  readonly path: string;
  /** Why, to be read after the path. */
  readonly message: string;
}

/** The configuration is wrong (`ERR_VMM_CONFIG`); `issues` has all of its problems at once. */
export class ConfigError extends VmmError {
  constructor(
    readonly issues: readonly ConfigIssue[],
    options?: VmmErrorOptions,
  ) {
    const text = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ');
    super('ERR_VMM_CONFIG', text, options);
  }
}

/**
 * A system call or the host's KVM said no: `ERR_VMM_HOST`, or one of the `ERR_KVM_…` codes. `syscall` is its name, an ioctl's
 * own where it was one; `errno` the number and `errnoName` its name (`EBUSY`). All three are undefined when no call failed.
 */
export class HostError extends VmmError {
  constructor(
    message: string,
    readonly syscall: string | undefined = undefined,
    readonly errno: number | undefined = undefined,
    readonly errnoName: string | undefined = undefined,
    options: VmmErrorOptions & { readonly code?: VmmErrorCode } = {},
  ) {
    super(options.code ?? 'ERR_VMM_HOST', message, options);
  }
}

/**
 * The kernel or initrd cannot be booted: damaged, foreign or too large (`ERR_KERNEL_FORMAT`), or sound but not for this host's
 * KVM (`ERR_KERNEL_HOST`).
 */
export class KernelError extends VmmError {
  constructor(
    message: string,
    options: VmmErrorOptions & { readonly code?: 'ERR_KERNEL_FORMAT' | 'ERR_KERNEL_HOST' } = {},
  ) {
    super(options.code ?? 'ERR_KERNEL_FORMAT', message, options);
  }
}

/** A method was called in a state that does not allow it (`ERR_VMM_STATE`): the VM is in `state`, the call needs `wanted`. */
export class StateError extends VmmError {
  constructor(
    readonly state: string,
    readonly wanted: string,
    options?: VmmErrorOptions,
  ) {
    super('ERR_VMM_STATE', `the VM is ${state}, not ${wanted}`, options);
  }
}

/**
 * The guest's kernel refused something (`ERR_GUEST_CALL`): to start a program, to open a file. `errnoName` is its reason, as in
 * Node's own errors (`ENOENT`); `errno` the number.
 */
export class GuestCallError extends VmmError {
  constructor(
    what: string,
    readonly errno: number,
    readonly errnoName: string,
  ) {
    super('ERR_GUEST_CALL', `${what}: ${errnoName}`);
  }
}

/**
 * The guest broke a rule of a specification; `clause` names it (`virtio 1.2 §2.7.5`). A device throws it from `activate`, `kick`
 * or `Session.run`; it reaches an embedder only as the text of a `notice`.
 */
export class GuestFault extends VmmError {
  constructor(
    message: string,
    readonly clause: string,
  ) {
    super('ERR_VMM_GUEST_FAULT', `${message} (${clause})`);
  }
}
