/** Page tables for 64-bit entry: the first GiB, identity-mapped in 2 MiB pages (SDM vol. 3 §4.5). */
import { GiB, gpa, MiB } from '../base/units.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import { PAGE_DIRECTORY, PDPT, PML4 } from './layout.js';

const PRESENT = 1n << 0n;
const WRITABLE = 1n << 1n;
const LARGE = 1n << 7n; // the entry maps a page, not a table
const ENTRIES = 512;
/** First address that is not mapped. */
export const MAPPED_END = gpa(GiB);

export function writePageTables(memory: GuestMemory): void {
  memory.writeU64(PML4, BigInt(PDPT) | PRESENT | WRITABLE);
  memory.writeU64(PDPT, BigInt(PAGE_DIRECTORY) | PRESENT | WRITABLE);
  for (let index = 0; index < ENTRIES; index += 1) {
    memory.writeU64(gpa(PAGE_DIRECTORY + 8 * index), BigInt(index * 2 * MiB) | PRESENT | WRITABLE | LARGE);
  }
}
