import { describe, expect, it } from 'vitest';
import { GiB, MiB } from '../../../src/base/units.js';
import { E820, e820Map } from '../../../src/boot/e820.js';
import { ramRanges } from '../../../src/boot/layout.js';

const map = (size: number): [number, number, number][] =>
  e820Map(ramRanges(size)).map(({ base, size, type }) => [base, base + size, type]);

const BELOW_1_MIB: [number, number, number][] = [
  [0, 0x9_fc00, E820.RAM],
  [0x9_fc00, 0x10_0000, E820.RESERVED],
];

describe('the memory map', () => {
  it('has RAM below the EBDA, the tables reserved, and RAM from 1 MiB on', () => {
    expect(map(128 * MiB)).toEqual([...BELOW_1_MIB, [0x10_0000, 128 * MiB, E820.RAM]]);
  });

  it('leaves the MMIO gap out: what does not fit below 3 GiB continues at 4 GiB', () => {
    expect(map(3 * GiB)).toEqual([...BELOW_1_MIB, [0x10_0000, 3 * GiB, E820.RAM]]);
    expect(map(3 * GiB + 4096)).toEqual([
      ...BELOW_1_MIB,
      [0x10_0000, 3 * GiB, E820.RAM],
      [4 * GiB, 4 * GiB + 4096, E820.RAM],
    ]);
    expect(map(16 * GiB).at(-1)).toEqual([4 * GiB, 17 * GiB, E820.RAM]);
  });

  it('has no RAM above 1 MiB when there is none', () => expect(map(MiB)).toEqual(BELOW_1_MIB));

  it('holds all RAM but the reserved part, in order and without overlap', () => {
    for (const size of [2 * MiB, GiB, 3 * GiB, 5 * GiB, 2 ** 39 - GiB]) {
      const entries = map(size);
      const ram = entries
        .filter(([, , type]) => type === E820.RAM)
        .reduce((sum, [from, to]) => sum + to - from, 0);
      expect(ram).toBe(size - (0x10_0000 - 0x9_fc00));
      for (const [index, [from]] of entries.entries())
        expect(from).toBeGreaterThanOrEqual(entries[index - 1]?.[1] ?? 0);
    }
  });
});
