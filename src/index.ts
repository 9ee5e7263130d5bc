/** Typevisor's public API, and nothing else. */

// Errors
export {
  ConfigError,
  type ConfigIssue,
  HostError,
  KernelError,
  StateError,
  VmmError,
  type VmmErrorCode,
} from './base/errors.js';
// Configuration
export { parseConfig, schema, type VmConfig } from './config/schema.js';
export type { WaitOptions } from './vm/console-log.js';
export type { CrashReport, ExitInfo, ExitReason } from './vm/exit-info.js';
export type { VmStats } from './vm/stats.js';
// The virtual machine
export {
  type StopOptions,
  VirtualMachine,
  type VmEvents,
  type VmNotice,
  type VmState,
} from './vm/virtual-machine.js';
