/**
 * What a machine is filled with: a flat image (flat-content.ts) or Linux (linux-content.ts). The images are read and checked
 * before there is a machine; what they say of it is known only afterwards.
 * Runs on: main.
 */
import type { Resources } from '../base/resources.js';
import type { Load } from '../boot/elf.js';
import type { EntryState } from '../boot/entry-state.js';
import type { ResolvedConfig } from '../config/schema.js';
import type { GuestFile } from './guest-file.js';
import type { HostKind } from './host-kind.js';
import type { Machine } from './machine.js';
import type { AttachedDevice } from './virtio-slots.js';

/** What an image plan leaves to be done. */
export interface Content {
  readonly entry: EntryState;
  /** The kernel's command line; undefined for a flat guest. */
  readonly cmdline: string | undefined;
  /** What was done because of this host, a sentence each. */
  readonly notices: readonly string[];
  /** Whether the guest gets an i8254. */
  readonly pit: boolean;
  fill(machine: Machine): void;
}

/**
 * Opens and checks the images a configuration names. What it opens is added to `files`.
 * @throws ConfigError, KernelError, VmmError ERR_FILE
 */
export type ContentPlanner = (
  config: ResolvedConfig,
  files: Resources,
  host: HostKind,
) => (machine: Machine, virtio: readonly AttachedDevice[]) => Content;

/** The planner a configuration needs, loaded now: a flat guest starts without the code that boots Linux. */
export async function loadPlanner(config: ResolvedConfig): Promise<ContentPlanner> {
  if (config.flat) return (await import('./flat-content.js')).planFlatContent;
  const { linuxPlanner } = await import('./linux-content.js');
  return config.agent ? linuxPlanner((await import('./agent-file.js')).agentPacker) : linuxPlanner();
}

/** Fresh RAM is zero: what a segment has beyond its file bytes needs no writing. */
export function copyLoads(image: GuestFile, loads: readonly Load[], machine: Machine): void {
  for (const { at, offset, fileSize } of loads) {
    if (fileSize > 0) image.copyTo(machine.ram, offset, at, fileSize);
  }
}
