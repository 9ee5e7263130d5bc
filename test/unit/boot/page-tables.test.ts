import { describe, expect, it } from 'vitest';
import { GiB, gpa, MiB } from '../../../src/base/units.js';
import { PML4 } from '../../../src/boot/layout.js';
import { MAPPED_END, writePageTables } from '../../../src/boot/page-tables.js';
import { GuestMemory } from '../../../src/memory/guest-memory.js';

/** A page walk as the CPU does it (SDM vol. 3 §4.5), to the 2 MiB page. */
function translate(memory: GuestMemory, linear: number): number | undefined {
  let table = PML4 as number;
  for (const shift of [39, 30, 21]) {
    const index = Math.floor(linear / 2 ** shift) % 512;
    const entry = memory.readU64(gpa(table + 8 * index));
    const [present, writable, large] = [entry & 1n, entry & 2n, entry & 0x80n];
    if (!present) return undefined;
    expect(writable).toBe(2n);
    expect(large !== 0n).toBe(shift === 21);
    table = Number(entry & 0xf_ffff_ffff_f000n);
  }
  return table + (linear % (2 * MiB));
}

describe('the page tables', () => {
  it('map the first GiB to itself, and nothing else', () => {
    const memory = GuestMemory.over(new Uint8Array(0x1_0000));
    writePageTables(memory);
    for (const at of [0, 1, 0x9000, 2 * MiB - 1, 2 * MiB, 0x1234_5678, GiB - 1])
      expect(translate(memory, at)).toBe(at);
    for (const at of [GiB, 4 * GiB, 2 ** 39]) expect(translate(memory, at)).toBeUndefined();
    expect(MAPPED_END).toBe(GiB);
  });
});
