/** A VM's counters, gathered when asked for. Runs on: main. */
import { hex } from '../base/units.js';
import type { Guest } from './build.js';
import type { Phase } from './phases.js';

/** A VM's counters since its creation, and the times of its boot. */
export interface VmStats {
  /** Milliseconds since creation began. */
  readonly uptimeMs: number;
  /** When each phase of the boot was reached, ms since creation began. */
  readonly phases: Readonly<Partial<Record<Phase, number>>>;
  /** Exits by kind; `page` are those answered by the vCPU thread from the register page. */
  readonly exits: Readonly<Record<string, number>>;
  /** The same for each vCPU by itself, the one that boots first. */
  readonly vcpus: readonly { readonly exits: Readonly<Record<string, number>> }[];
  /** Exits that reached the event loop, by address: `pio 0x3f8 com1`. */
  readonly addresses: Readonly<Record<string, number>>;
  /** Accesses that met no device, by address. */
  readonly unclaimed: Readonly<Record<string, number>>;
  /** What each virtio device counts of itself, and the rules its driver broke (`faults`). */
  readonly devices: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Bytes that the guest wrote to its serial console, and how many of them nobody read in time. */
  readonly serial: { readonly bytes: number; readonly dropped: number };
}

export function collectStats(guest: Guest): VmStats {
  const { machine, phases, console } = guest;
  const exits: Record<string, number> = {};
  const addresses: Record<string, number> = {};
  const add = (into: Record<string, number>, key: string, count: number): void => {
    into[key] = (into[key] ?? 0) + count;
  };
  const vcpus = machine.vcpus.map(({ thread, loop }) => ({
    exits: { page: thread.answered, ...Object.fromEntries(loop.stats.kinds) },
  }));
  for (const vcpu of vcpus) for (const [kind, count] of Object.entries(vcpu.exits)) add(exits, kind, count);
  for (const { loop } of machine.vcpus) {
    for (const space of ['pio', 'mmio'] as const) {
      for (const [address, count] of loop.stats[space]) {
        add(addresses, `${space} ${hex(address)} ${machine[space].owner(address) ?? 'nobody'}`, count);
      }
    }
  }
  const unclaimed: Record<string, number> = {};
  for (const bus of [machine.pio, machine.mmio]) {
    for (const [address, count] of bus.unclaimed) add(unclaimed, `${bus.name} ${hex(address)}`, count);
  }
  const devices = Object.fromEntries(
    guest.virtio.map(({ device, transport }) => [device.name, { ...device.stats, faults: transport.faults }]),
  );
  const serial = { bytes: guest.outputBytes, dropped: console.dropped };
  const { elapsed: uptimeMs } = phases;
  return { uptimeMs, phases: phases.report(), exits, vcpus, addresses, unclaimed, devices, serial };
}
