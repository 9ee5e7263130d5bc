import { describe, expect, it } from 'vitest';
import { GiB, gpa, KiB, MiB } from '../../../src/base/units.js';
import * as layout from '../../../src/boot/layout.js';

describe('the memory map', () => {
  it('has no two fixed areas that overlap, and all of them below 1 MiB', () => {
    const areas = [...layout.FIXED_AREAS].sort((a, b) => a.base - b.base);
    for (const [index, { name, base, size }] of areas.entries()) {
      const next = areas[index + 1];
      expect(size, name).toBeGreaterThan(0);
      expect(base + size, `${name} reaches into ${next?.name ?? 'the kernel'}`).toBeLessThanOrEqual(
        next?.base ?? layout.HIGH_RAM,
      );
    }
  });

  it('names every area that the boot code writes', () => {
    const areaAt = (at: number): string | undefined =>
      layout.FIXED_AREAS.find(({ base, size }) => at >= base && at < base + size)?.name;
    expect(
      [
        layout.GDT,
        layout.IDT,
        layout.PVH_START_INFO,
        layout.PVH_MODULES,
        layout.PVH_MEMORY_MAP,
        layout.ZERO_PAGE,
        layout.BOOT_STACK - 8,
        layout.PML4,
        layout.PDPT,
        layout.PAGE_DIRECTORY,
        layout.CMDLINE + layout.CMDLINE_SIZE - 1,
        layout.EBDA,
      ].map(areaAt),
    ).not.toContain(undefined);
  });

  it('puts devices into the gap, and nothing there is RAM', () => {
    for (const at of [layout.BOOT_TIMER, layout.VIRTIO_MMIO, layout.IOAPIC, layout.LAPIC]) {
      expect(at).toBeGreaterThanOrEqual(layout.MMIO_GAP);
      expect(at).toBeLessThan(layout.MMIO_GAP_END);
      for (const { base, size } of layout.ramRanges(64 * GiB))
        expect(at >= base && at < base + size).toBe(false);
    }
    expect(layout.VIRTIO_MMIO - layout.BOOT_TIMER).toBe(4 * KiB);
  });

  it('gives every device with an interrupt a line of its own, all on the IOAPIC', () => {
    const lines = [...Object.values(layout.IRQ), ...layout.VIRTIO_GSIS];
    expect(new Set(lines).size).toBe(lines.length);
    for (const line of lines) expect(line < 24 && line > 0 && line !== 2).toBe(true);
  });
});

describe('RAM of a size', () => {
  it.each([
    [MiB, [[0, MiB]]],
    [3 * GiB, [[0, 3 * GiB]]],
    [
      3 * GiB + 4 * KiB,
      [
        [0, 3 * GiB],
        [4 * GiB, 4 * KiB],
      ],
    ],
    [
      16 * GiB,
      [
        [0, 3 * GiB],
        [4 * GiB, 13 * GiB],
      ],
    ],
  ])('%d bytes lies at %j', (size, ranges) => {
    expect(layout.ramRanges(size).map(({ base, size }) => [base, size])).toEqual(ranges);
  });

  it('is open to kernels from 1 MiB on', () => {
    const ranges = (size: number) => layout.kernelRanges(layout.ramRanges(size));
    expect(ranges(4 * GiB)).toEqual([
      { base: gpa(MiB), size: 3 * GiB - MiB },
      { base: gpa(4 * GiB), size: GiB },
    ]);
    expect(ranges(MiB)).toEqual([]);
  });
});
