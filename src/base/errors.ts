/**
 * The error family. Every error the library throws on purpose is a VmmError with a stable `code` and,
 * where there is something the reader can do, a `hint`. Classes say who must act: ConfigError the caller,
 * HostError the owner of the machine, KernelError whoever chose the guest, StateError the calling code.
 * GuestFault never leaves the library: the virtio transport turns it into DEVICE_NEEDS_RESET.
 */

/** Stable, documented values of `VmmError.code`. */
export type VmmErrorCode =
  | 'ERR_VMM_CONFIG' // an option is wrong: see `issues`
  | 'ERR_VMM_HOST' // a system call failed
  | 'ERR_KVM_UNAVAILABLE' // no /dev/kvm
  | 'ERR_KVM_PERMISSION' // /dev/kvm may not be opened
  | 'ERR_KVM_CAPABILITY' // this KVM lacks something the monitor needs
  | 'ERR_KVM_INTERNAL' // KVM gave up on the guest: see `crash`
  | 'ERR_KERNEL_FORMAT' // the kernel image is damaged or not for this machine
  | 'ERR_KERNEL_HOST' // the kernel image is sound, but cannot run on this host's KVM
  | 'ERR_FILE' // a file named by the configuration cannot be read
  | 'ERR_VMM_STATE' // the call does not fit the VM's state
  | 'ERR_TIMEOUT' // a wait ended without its event
  | 'ERR_GUEST_EXIT' // the guest ended while something waited for it
  | 'ERR_VMM_GUEST_FAULT'; // internal: the guest broke a rule

export interface VmmErrorOptions {
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

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

/** One wrong option: where (`disks.1.id`) and why. */
export interface ConfigIssue {
  readonly path: string;
  readonly message: string;
}

/** The configuration is wrong; all of its problems at once. */
export class ConfigError extends VmmError {
  constructor(
    readonly issues: readonly ConfigIssue[],
    options?: VmmErrorOptions,
  ) {
    const text = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ');
    super('ERR_VMM_CONFIG', text, options);
  }
}

/** A system call or the host's KVM said no. */
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

/** The kernel or initrd cannot be booted: damaged, foreign, or not for this host. */
export class KernelError extends VmmError {
  constructor(
    message: string,
    options: VmmErrorOptions & { readonly code?: 'ERR_KERNEL_FORMAT' | 'ERR_KERNEL_HOST' } = {},
  ) {
    super(options.code ?? 'ERR_KERNEL_FORMAT', message, options);
  }
}

/** A method was called in a state that does not allow it. */
export class StateError extends VmmError {
  constructor(
    readonly state: string,
    readonly wanted: string,
    options?: VmmErrorOptions,
  ) {
    super('ERR_VMM_STATE', `the VM is ${state}, not ${wanted}`, options);
  }
}

/** The guest broke a rule of a specification; `clause` names it (`virtio 1.2 §2.7.5`). */
export class GuestFault extends VmmError {
  constructor(
    message: string,
    readonly clause: string,
  ) {
    super('ERR_VMM_GUEST_FAULT', `${message} (${clause})`);
  }
}
