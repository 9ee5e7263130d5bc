/**
 * Flat binaries: bytes at an address, started in real or long mode. For people who study VMMs, and for tests.
 */
import { ConfigError } from '../base/errors.js';
import { formatSize, type Gpa, hex } from '../base/units.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { Load } from './elf.js';
import { type EntryState, flatLong, flatReal } from './entry-state.js';
import { CODE64, writeDescriptorTables } from './gdt.js';
import { PAGE_DIRECTORY, type Range } from './layout.js';
import { writePageTables } from './page-tables.js';

export type FlatMode = 'real' | 'long';

export interface FlatPlan {
  readonly loads: readonly Load[];
  readonly entry: EntryState;
  readonly mode: FlatMode;
}

/** Real mode reaches 1 MiB; the identity map of long mode 1 GiB. */
const REACH = { real: 0x10_0000, long: 2 ** 30 } as const;
/** The tables of long mode end here; a long-mode binary must lie above, or below the GDT. */
const TABLES_END = PAGE_DIRECTORY + 0x1000;

/**
 * @param load where the bytes go; `entry` where the CPU starts
 * @throws ConfigError naming `flat.load` or `flat.entry`
 */
export function planFlat(
  size: number,
  { load, entry, mode }: { readonly load: Gpa; readonly entry: Gpa; readonly mode: FlatMode },
  ram: readonly Range[],
): FlatPlan {
  const issue = (path: string, message: string): ConfigError =>
    new ConfigError([{ path: `flat.${path}`, message }]);
  const low = ram[0]!;
  if (load + size > low.base + low.size) {
    throw issue('load', `${formatSize(size)} at ${hex(load)} do not fit into the guest's memory`);
  }
  if (mode === 'long' && load < TABLES_END && load + size > 0x500) {
    throw issue('load', `${hex(load)} is where long mode has its tables: use ${hex(TABLES_END)} or above`);
  }
  if (entry >= REACH[mode]) throw issue('entry', `${hex(entry)} is above what ${mode} mode reaches`);
  if (entry >= low.base + low.size) throw issue('entry', `${hex(entry)} is not in the guest's memory`);
  return {
    loads: [{ at: load, offset: 0, fileSize: size, memorySize: size }],
    entry: mode === 'real' ? flatReal(entry) : flatLong(entry),
    mode,
  };
}

export function writeFlatTables(memory: GuestMemory, { mode }: FlatPlan): void {
  if (mode === 'real') return;
  writeDescriptorTables(memory, CODE64);
  writePageTables(memory);
}
