/**
 * The command's exit codes (DESIGN.md §6). Those of the monitor follow sysexits.h; 124 follows timeout(1); 128 + N
 * follows the shell. The guest's own ends have theirs in ExitInfo.code.
 */
import { constants } from 'node:os';
import { VmmError, type VmmErrorCode } from '../base/errors.js';

export const EXIT = {
  OK: 0,
  USAGE: 64, // EX_USAGE
  DATA: 65, // EX_DATAERR: the kernel image is damaged or foreign
  NO_INPUT: 66, // EX_NOINPUT: a file cannot be read
  UNAVAILABLE: 69, // EX_UNAVAILABLE: no KVM that does, or no VM of that name
  SOFTWARE: 70, // EX_SOFTWARE: the monitor itself failed
  IO: 74, // EX_IOERR: standard output cannot be written
  NOT_EXECUTABLE: 126, // as a shell: the guest has the command, and cannot run it
  NOT_FOUND: 127, // as a shell: the guest has no such command
} as const;

const BY_CODE: Partial<Record<VmmErrorCode, number>> = {
  ERR_VMM_CONFIG: EXIT.USAGE,
  ERR_FILE: EXIT.NO_INPUT,
  ERR_KERNEL_FORMAT: EXIT.DATA,
  ERR_KERNEL_HOST: EXIT.UNAVAILABLE,
  ERR_KVM_UNAVAILABLE: EXIT.UNAVAILABLE,
  ERR_KVM_PERMISSION: EXIT.UNAVAILABLE,
  ERR_KVM_CAPABILITY: EXIT.UNAVAILABLE,
  ERR_NO_VM: EXIT.UNAVAILABLE,
};

/** The exit code for an error that ended the command. */
export const codeOfError = (error: unknown): number =>
  (error instanceof VmmError ? BY_CODE[error.code] : undefined) ?? EXIT.SOFTWARE;

/** The exit code of a command that a signal ended. */
export const codeOfSignal = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];
