/**
 * A machine's virtio devices, as the VM holds them. Their code is loaded only for a configuration that has any.
 * Runs on: main.
 */
import type { Agent } from '../agent/agent.js';
import { ConfigError } from '../base/errors.js';
import type { ResolvedConfig } from '../config/schema.js';
import type { GuestConsole } from './guest-console.js';
import type { GuestDisk } from './guest-disk.js';
import type { GuestNet } from './guest-net.js';
import type { GuestVsock } from './guest-vsock.js';
import type { Machine } from './machine.js';
import type { AttachedDevice, DeviceEvents } from './virtio-slots.js';

export interface GuestDevices extends AsyncDisposable {
  /** Gives each device its place. @throws ConfigError when there are more devices than places */
  attach(machine: Machine, events: DeviceEvents): readonly AttachedDevice[];
  readonly console: GuestConsole | undefined;
  readonly disks: ReadonlyMap<string, GuestDisk>;
  readonly nets: ReadonlyMap<string, GuestNet>;
  readonly vsock: GuestVsock | undefined;
  /** What was noticed while opening, a sentence each. */
  readonly notices: readonly string[];
}

/** What runs programs in the guest. @throws ConfigError when the guest has no socket device */
export function agentOf({ vsock }: GuestDevices): Agent {
  if (vsock) return vsock.agent;
  const message =
    'is needed to run programs in the guest and to reach its files: `agent: true`, or `vsock` with an agent of yours';
  throw new ConfigError([{ path: 'agent', message }]);
}

/**
 * Opens what the devices need from the host.
 * @throws ConfigError, VmmError ERR_FILE, HostError; nothing stays open then
 */
export async function openDevices(
  config: ResolvedConfig,
  onHostError: (device: string, error: unknown) => void,
): Promise<GuestDevices> {
  const { disks, net, vsock, rng, console, devices } = config;
  if (disks.length + net.length + devices.length === 0 && !vsock && !rng && !console) return NONE;
  const { openVirtioDevices } = await import('./devices.js');
  return openVirtioDevices(config, onHostError);
}

const NONE: GuestDevices = {
  attach: () => [],
  console: undefined,
  disks: new Map(),
  nets: new Map(),
  vsock: undefined,
  notices: [],
  async [Symbol.asyncDispose]() {},
};
