import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/base/errors.js';
import { GiB, gpa, MiB } from '../../../src/base/units.js';
import { type FlatMode, planFlat, writeFlatTables } from '../../../src/boot/flat.js';
import { GDT, PML4, ramRanges } from '../../../src/boot/layout.js';
import { GuestMemory } from '../../../src/memory/guest-memory.js';

const plan = (mode: FlatMode, load: number, size: number, entry = load, memory = 2 * MiB) =>
  planFlat(size, { load: gpa(load), entry: gpa(entry), mode }, ramRanges(memory));

describe('a flat binary', () => {
  it('goes where it is told, whole', () => {
    const { loads, entry } = plan('real', 0x7c00, 512);
    expect(loads).toEqual([{ at: 0x7c00, offset: 0, fileSize: 512, memorySize: 512 }]);
    expect(entry.regs.rip).toBe(0x7c00n);
  });

  it('may fill memory to its end, and lie at 0 in real mode', () => {
    expect(plan('long', MiB, MiB).loads[0]!.at).toBe(MiB);
    expect(plan('real', 0, 2 * MiB, 0x1000).entry.regs.rip).toBe(0x1000n);
  });

  it('may lie beside the tables of long mode, not over them', () => {
    expect(plan('long', 0xc000, 16).loads).toHaveLength(1);
    expect(plan('long', 0, 0x500).loads).toHaveLength(1);
    for (const [load, size] of [
      [0xbfff, 1],
      [0, 0x501],
      [0x9000, 0x1000],
      [0x500, 1],
      [0, MiB],
    ] as const) {
      expect(() => plan('long', load, size), `${load}`).toThrow(
        /^flat\.load: .* is where long mode has its tables/,
      );
    }
    expect(plan('real', 0x9000, 0x1000).loads).toHaveLength(1);
  });

  it.each<[string, FlatMode, number, number, number, RegExp]>([
    ['does not fit', 'real', 2 * MiB - 1, 2, 0, /^flat\.load: 2 B at 0x1f_ffff do not fit/],
    [
      'starts above real mode',
      'real',
      0x10_0000,
      16,
      0x10_0000,
      /^flat\.entry: .* above what real mode reaches/,
    ],
    ['starts above the mapped GiB', 'long', 0xc000, 16, GiB, /^flat\.entry: .* above what long mode reaches/],
    ['starts outside memory', 'long', 0xc000, 16, 2 * MiB, /^flat\.entry: .* not in the guest's memory/],
  ])('is refused when it %s', (_what, mode, load, size, entry, message) => {
    expect(() => plan(mode, load, size, entry)).toThrow(ConfigError);
    expect(() => plan(mode, load, size, entry)).toThrow(message);
  });

  it('is refused when it runs into the MMIO gap, however much memory lies above', () => {
    expect(() => plan('real', 3 * GiB - 1, 2, 0, 8 * GiB)).toThrow(/do not fit/);
    expect(() => plan('long', 4 * GiB, 16, 0xc000, 8 * GiB)).toThrow(/do not fit/);
  });

  it('gets tables in long mode and none in real mode', () => {
    for (const mode of ['real', 'long'] as const) {
      const memory = GuestMemory.over(new Uint8Array(MiB));
      writeFlatTables(memory, plan(mode, 0x1_0000, 16));
      expect(memory.readU64(PML4) !== 0n).toBe(mode === 'long');
      expect(memory.readU64(gpa(GDT + 0x10)) !== 0n).toBe(mode === 'long');
    }
  });
});
