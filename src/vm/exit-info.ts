/** How a VM ended, for people and for programs. Runs on: main. */
import type { VmmError } from '../base/errors.js';

/** Why a VM ended. */
export type ExitReason =
  | 'poweroff' // the guest switched itself off
  | 'reboot' // the guest asked for a reset; this monitor does not restart it
  | 'exit' // a flat guest wrote its exit code, or halted
  | 'panic' // the guest's kernel panicked
  | 'halted' // every vCPU waits with interrupts off: nothing can wake them
  | 'triple-fault' // the guest's CPU gave up
  | 'kvm-error' // KVM gave up on the guest
  | 'killed' // stop() or kill(), or the embedder's signal
  | 'timeout' // the configured limit was reached
  | 'error'; // the monitor itself failed

/** A guest's last state, for whoever has to find out why. */
export interface CrashReport {
  /** One line: what happened. */
  readonly summary: string;
  /** Registers of the vCPU that ended, `RIP 0x…` and so on, a line each. */
  readonly registers: readonly string[];
  /** Up to 15 bytes at the instruction pointer, when they could be read. */
  readonly instruction: Uint8Array | undefined;
  /** The last 20 lines that the guest wrote to its console. */
  readonly consoleTail: string;
}

/** How a VM ended: a frozen object, the same for everyone who asks. */
export interface ExitInfo {
  /** Why it ended. */
  readonly reason: ExitReason;
  /** 0 for a clean end; a flat guest's own code; otherwise the command's exit code for this reason (DESIGN.md §6). */
  readonly code: number;
  /** The same in a sentence, for a message. */
  readonly message: string;
  /** What the reader can do about it. */
  readonly hint?: string | undefined;
  /** What failed in the monitor, for the reason `error`. */
  readonly error?: VmmError | undefined;
  /** The state of the guest, for `halted`, `triple-fault`, `panic` by triple fault, `kvm-error` and `error`. */
  readonly crash?: CrashReport | undefined;
}

/** The command's exit codes for ends that are not the guest's own (DESIGN.md §6). */
export const REASON_CODES: Readonly<Record<ExitReason, number>> = {
  poweroff: 0,
  reboot: 0,
  exit: 0,
  panic: 71,
  halted: 72,
  'triple-fault': 72,
  'kvm-error': 72,
  killed: 0,
  timeout: 124,
  error: 70,
};
