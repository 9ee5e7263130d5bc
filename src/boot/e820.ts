/** The memory map a PC's firmware would report (ACPI 6.5 §15, "E820"), for the zero page and for PVH. */
import { EBDA, gpaRange, HIGH_RAM, type Range } from './layout.js';

export const E820 = { RAM: 1, RESERVED: 2 } as const;

export interface E820Entry extends Range {
  readonly type: (typeof E820)[keyof typeof E820];
}

/** RAM without the EBDA and ROM area, where the MP and ACPI tables are. */
export function e820Map(ram: readonly Range[]): E820Entry[] {
  const entries: E820Entry[] = [
    { ...gpaRange(0, EBDA), type: E820.RAM },
    { ...gpaRange(EBDA, HIGH_RAM), type: E820.RESERVED },
  ];
  for (const { base, size } of ram) {
    const start = Math.max(base, HIGH_RAM);
    if (base + size > start) entries.push({ ...gpaRange(start, base + size), type: E820.RAM });
  }
  return entries;
}
