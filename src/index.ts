/** Typevisor's public API, and nothing else. */

// Programs and files in the guest
export { ExecError, type ExecOptions, type ExecResult, type SpawnOptions } from './agent/exec.js';
export type { GuestFiles, GuestReadOptions, GuestStat, GuestWriteOptions } from './agent/guest-files.js';
export type { DownloadOptions, FolderOptions } from './agent/guest-folders.js';
export type { GuestForward, GuestForwardOptions } from './agent/guest-ports.js';
export type { GuestProcess, ProcessEnd, TerminalSize } from './agent/guest-process.js';
export type { FolderCopy } from './agent/tar-folder.js';
// Disks to combine: a file under an overlay, a disk that fails on purpose
export { type DiskFault, type DiskOperation, FaultyDisk } from './backends/faulty-disk.js';
export { FileDisk, type FileDiskOptions } from './backends/file-disk.js';
// Networks to connect machines of one process
export { Hub, type HubStats } from './backends/hub.js';
export { MemoryDisk, type MemoryDiskOptions } from './backends/memory-disk.js';
export { OverlayDisk, type OverlayOptions } from './backends/overlay-disk.js';
// The user network: its policy, and the network of a card as vm.nets has it
export type { Forward, ForwardOptions } from './backends/user-net/forwards.js';
export type { FetchContext, FetchHook } from './backends/user-net/http/interceptor.js';
export type { NetSecret } from './backends/user-net/http/secrets.js';
export type {
  DnsAnswer,
  NetAnswer,
  NetDecision,
  NetFlow,
  NetPolicy,
  NetQuestion,
} from './backends/user-net/net-policy.js';
export type { UserNet, UserNetEvents, UserNetStats } from './backends/user-net/user-net.js';
// Connections with guest programs
export type { VsockListener } from './backends/vsock/listener.js';
export type { VsockConnection } from './backends/vsock/stream.js';
// Errors
export {
  ConfigError,
  type ConfigIssue,
  GuestCallError,
  GuestFault,
  HostError,
  KernelError,
  StateError,
  VmmError,
  type VmmErrorCode,
} from './base/errors.js';
// Configuration
export { optionHelp, parseConfig, schema, type VmConfig } from './config/schema.js';
export type { ForwardInput, UserNetInput } from './config/user-network.js';
// VMs of other processes, by name
export {
  connectMachine,
  listMachines,
  type MachineInfo,
  NamedMachine,
} from './control/named-machine.js';
export {
  type ControlledMachine,
  type ControlOptions,
  ControlServer,
  type MachineEnd,
  serveControl,
} from './control/server.js';
// What an embedder may implement
export type { BlockBackend } from './devices/blk/backend.js';
export type { NetBackend, Receive, VnetHeader } from './devices/net/backend.js';
export type { Bucket, RateLimit } from './devices/rate-limiter.js';
export { ConfigSpace } from './virtio/config-space.js';
export type { Session, VirtioDevice } from './virtio/device.js';
export type { Chain, Queue } from './virtio/queue.js';
export type { WaitOptions } from './vm/console-log.js';
export { type DoctorCheck, type DoctorReport, doctor } from './vm/doctor.js';
export type { CrashReport, ExitInfo, ExitReason } from './vm/exit-info.js';
export type { GuestConsole } from './vm/guest-console.js';
export type { GuestDisk } from './vm/guest-disk.js';
export type { GuestNet, NetRateLimit } from './vm/guest-net.js';
export type { GuestVsock, VsockConnectOptions } from './vm/guest-vsock.js';
export { type CpuConfig, type CpuReport, inspectCpu } from './vm/inspect-cpu.js';
export type { VmStats } from './vm/stats.js';
// The virtual machine
export {
  type StopOptions,
  VirtualMachine,
  type VmEvents,
  type VmNotice,
  type VmState,
} from './vm/virtual-machine.js';
