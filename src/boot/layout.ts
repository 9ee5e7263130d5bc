/**
 * The guest-physical memory map, Firecracker's where there is a choice, so that its kernels and tools feel at home.
 * Everything below 1 MiB is written by the monitor before the first instruction and belongs to the guest afterwards.
 * A unit test proves that no two of these areas overlap.
 */
import { GiB, type Gpa, gpa, KiB, MiB } from '../base/units.js';

/** Global descriptor table: four descriptors for 64-bit entry, see gdt.ts. */
export const GDT = gpa(0x500);
/** Interrupt descriptor table: one empty gate; the kernel loads its own before it enables interrupts. */
export const IDT = gpa(0x520);
/** PVH: struct hvm_start_info, and behind it the module list and the memory map. */
export const PVH_START_INFO = gpa(0x6000);
export const PVH_MODULES = gpa(0x6040);
export const PVH_MEMORY_MAP = gpa(0x6080);
/** struct boot_params ("zero page"), one page. */
export const ZERO_PAGE = gpa(0x7000);
/** Stack pointer at entry; grows down towards the end of the zero page. */
export const BOOT_STACK = gpa(0x8ff0);
/** Page tables: one page each, together an identity map of the first GiB. */
export const PML4 = gpa(0x9000);
export const PDPT = gpa(0xa000);
export const PAGE_DIRECTORY = gpa(0xb000);
/** The kernel's command line, NUL-terminated. */
export const CMDLINE = gpa(0x2_0000);
/** Bytes with the NUL: x86's COMMAND_LINE_SIZE. */
export const CMDLINE_SIZE = 2048;
/** End of conventional memory, where a PC's extended BIOS data area starts; the MP table lives from here. */
export const EBDA = gpa(0x9_fc00);
/** The ACPI tables: above the video memory of a PC, into which a guest that probes for a screen may write. */
export const ACPI_TABLES = gpa(0xc_0000);
export const ACPI_TABLES_END = gpa(0xd_f000);
/** The VM generation id, in a page of its own: 16 bytes that the monitor changes while the guest runs. */
export const VM_GENERATION_ID = gpa(0xd_f000);
export const VM_GENERATION_ID_SIZE = 16;
/** MP tables and ACPI tables up to here, reserved in the e820 map. The scan for MP and ACPI signatures covers it. */
export const EBDA_END = gpa(0xe_0000);
/** ACPI's root pointer goes here: the scan for it covers 0xe0000–0xfffff. */
export const RSDP = gpa(0xe_0000);
/** First byte of extended memory: where kernels are loaded by convention. */
export const HIGH_RAM = gpa(0x10_0000);

/**
 * Hole for memory-mapped devices: the last GiB below 4 GiB. IOAPIC and LAPIC sit at its end by architecture, and 32-bit
 * addresses must reach every device.
 */
export const MMIO_GAP = gpa(3 * GiB);
export const MMIO_GAP_END = gpa(4 * GiB);
/** One page that tells the monitor when the guest thinks it has booted. */
export const BOOT_TIMER = gpa(0xc000_0000);
/** virtio-mmio devices: one page each from here. */
export const VIRTIO_MMIO = gpa(0xc000_1000);
export const IOAPIC = gpa(0xfec0_0000);
export const LAPIC = gpa(0xfee0_0000);

/**
 * Interrupt lines (GSIs: pins of the one IOAPIC) with an owner. 0 is the timer, 2 the cascade of a PC's PICs, 8 the clock's;
 * 9, a PC's ACPI interrupt, belongs to ACPI's event device.
 */
export const IRQ = { COM1: 4, I8042: 1, RTC: 8, GED: 9 } as const;
/** The serial console's ports begin here, as on every PC. */
export const COM1 = 0x3f8;
/** Interrupt lines for virtio devices, in the order they are given out: one each, edges cannot be shared. */
export const VIRTIO_GSIS: readonly number[] = [
  5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
];

/** Least RAM a kernel can be given: the tables below 1 MiB and something above. */
export const MIN_RAM = 2 * MiB;
/** Most RAM: 39 bits, what the oldest CPUs with EPT can address, less the gap. */
export const MAX_RAM = 2 ** 39 - GiB;

export interface Range {
  readonly base: Gpa;
  readonly size: number; // bytes
}

/** [start, end) as a Range. */
export const gpaRange = (start: number, end: number): Range => ({ base: gpa(start), size: end - start });

/** RAM of `size` bytes, split around the gap: the part that does not fit below it continues at 4 GiB. */
export function ramRanges(size: number): Range[] {
  const low = Math.min(size, MMIO_GAP);
  const ranges: Range[] = [{ base: gpa(0), size: low }];
  if (size > low) ranges.push({ base: MMIO_GAP_END, size: size - low });
  return ranges;
}

/** Where a kernel may be put: RAM without the first MiB, whose tables it would overwrite. */
export function kernelRanges(ram: readonly Range[]): Range[] {
  return ram
    .map(({ base, size }) => {
      const start = Math.max(base, HIGH_RAM);
      return { base: gpa(start), size: base + size - start };
    })
    .filter(({ size }) => size > 0);
}

/** The fixed areas below 1 MiB, for the overlap test and for whoever studies the map. */
export const FIXED_AREAS: readonly (Range & { readonly name: string })[] = [
  { name: 'GDT', base: GDT, size: 0x20 },
  { name: 'IDT', base: IDT, size: 0x10 },
  { name: 'hvm_start_info', base: PVH_START_INFO, size: 0x40 },
  { name: 'PVH module list', base: PVH_MODULES, size: 0x40 },
  { name: 'PVH memory map', base: PVH_MEMORY_MAP, size: 8 * 24 },
  { name: 'zero page', base: ZERO_PAGE, size: 4 * KiB },
  { name: 'boot stack', base: gpa(0x8000), size: BOOT_STACK - 0x8000 },
  { name: 'PML4', base: PML4, size: 4 * KiB },
  { name: 'PDPT', base: PDPT, size: 4 * KiB },
  { name: 'page directory', base: PAGE_DIRECTORY, size: 4 * KiB },
  { name: 'command line', base: CMDLINE, size: CMDLINE_SIZE },
  { name: 'MP table', base: EBDA, size: ACPI_TABLES - EBDA },
  { name: 'ACPI tables', base: ACPI_TABLES, size: ACPI_TABLES_END - ACPI_TABLES },
  { name: 'VM generation id', base: VM_GENERATION_ID, size: VM_GENERATION_ID_SIZE },
  { name: 'RSDP', base: RSDP, size: HIGH_RAM - RSDP },
];
