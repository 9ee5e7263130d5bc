/**
 * The virtio devices a configuration asks for, with what they need from the host opened: in the order in which the guest
 * finds them (DESIGN.md §4).
 * Runs on: main.
 */

import { hostEntropy } from '../backends/host-entropy.js';
import type { UserNet } from '../backends/user-net/user-net.js';
import { ConfigError } from '../base/errors.js';
import type { ResolvedConfig } from '../config/schema.js';
import type { BlockBackend } from '../devices/blk/backend.js';
import { BlkDevice } from '../devices/blk/device.js';
import { RngDevice } from '../devices/rng/device.js';
import type { VirtioDevice } from '../virtio/device.js';
import { type DiskConfig, openDisk } from './disks.js';
import { GuestConsole } from './guest-console.js';
import type { GuestDevices } from './guest-devices.js';
import { GuestDisk } from './guest-disk.js';
import { GuestNet } from './guest-net.js';
import type { GuestVsock } from './guest-vsock.js';
import { attachDevices } from './virtio-slots.js';

/** @throws ConfigError, VmmError ERR_FILE, HostError; nothing stays open then */
export async function openVirtioDevices(
  config: ResolvedConfig,
  onHostError: (device: string, error: unknown) => void,
): Promise<GuestDevices> {
  const list: VirtioDevice[] = [];
  const disks = new Map<string, GuestDisk>();
  const notices: string[] = [];
  const nets = new Map<string, GuestNet>();
  const close = async (): Promise<void> => {
    for (const device of list) await device.close?.();
  };
  let vsock: GuestVsock | undefined;
  try {
    for (const [index, options] of config.disks.entries()) {
      const id = options.id ?? `disk${index}`;
      const open = (source: DiskConfig['source']): Promise<BlockBackend> =>
        openDisk({ ...options, source }, `disks.${index}`, (notice) => notices.push(`${id}: ${notice}`));
      const { readOnly, queues, rateLimit } = options;
      const disk = await open(options.source);
      const device = new BlkDevice(id, {
        disk,
        readOnly,
        queues,
        serial: id,
        limit: rateLimit,
        onHostError: (error) => onHostError(id, error),
      });
      list.push(device);
      disks.set(id, new GuestDisk(id, device, open));
    }
    if (config.net.length > 0) {
      const { openNets } = await import('./nets.js');
      const users = new Map<string, UserNet>();
      for (const device of await openNets(config, onHostError, users)) {
        list.push(device);
        nets.set(device.name, new GuestNet(device.name, device, users.get(device.name)));
      }
    }
    if (config.vsock) {
      const { GuestVsock } = await import('./guest-vsock.js');
      vsock = await GuestVsock.open(config.vsock);
      list.push(vsock.device);
    }
  } catch (error) {
    await close();
    throw error;
  }
  if (config.rng) list.push(new RngDevice('rng', hostEntropy, config.rng.rateLimit));
  const console = config.console ? new GuestConsole('console') : undefined;
  if (console) list.push(console.device);
  for (const [index, device] of config.devices.entries()) {
    if (list.some(({ name }) => name === device.name)) {
      await close();
      throw new ConfigError([{ path: `devices.${index}.name`, message: `"${device.name}" is taken` }]);
    }
    list.push(device);
  }
  return {
    attach: (machine, events) => attachDevices(machine, list, events),
    console,
    disks,
    nets,
    vsock,
    notices,
    [Symbol.asyncDispose]: close,
  };
}
