/** The tables' offsets and sums (ACPI 6.5 §5.2), and that they fit where they go. The offsets are typed from the spec. */
import { describe, expect, it } from 'vitest';
import type { AcpiDescription } from '../../../../src/boot/acpi/description.js';
import { acpiTables, type PlacedTable, writeAcpiTables } from '../../../../src/boot/acpi/tables.js';
import {
  ACPI_TABLES,
  ACPI_TABLES_END,
  VIRTIO_GSIS,
  VIRTIO_MMIO,
  VM_GENERATION_ID,
} from '../../../../src/boot/layout.js';
import { ACPI_PM } from '../../../../src/devices/legacy/acpi-pm.js';
import { GuestMemory } from '../../../../src/memory/guest-memory.js';

const machine = (cpus: number, devices: number): AcpiDescription => ({
  cpus,
  virtio: Array.from({ length: devices }, (_, index) => ({
    base: VIRTIO_MMIO + index * 0x1000,
    gsi: VIRTIO_GSIS[index % VIRTIO_GSIS.length]!,
  })),
  serial: { port: 0x3f8, gsi: 4 },
  rtc: { port: 0x70 },
  power: { ...ACPI_PM, gsi: 9 },
});
const find = (tables: readonly PlacedTable[], name: string): PlacedTable =>
  tables.find((table) => table.name === name)!;
const view = ({ bytes }: PlacedTable): DataView => new DataView(bytes.buffer);
const text = ({ bytes }: PlacedTable, from: number, length: number): string =>
  Buffer.from(bytes).toString('latin1', from, from + length);
const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => total + byte, 0) & 0xff;

const sizes: readonly [cpus: number, devices: number][] = [
  [1, 0],
  [2, 3],
  [32, 17],
  [254, 1000],
];

describe.each(sizes)('the ACPI tables of %i vCPUs and %i virtio devices', (cpus, devices) => {
  const tables = acpiTables(machine(cpus, devices));

  it('sum to zero and know their length', () => {
    for (const table of tables) {
      expect(sum(table.bytes), table.name).toBe(0);
      const lengthAt = table.name === 'RSDP' ? 20 : 4;
      expect(view(table).getUint32(lengthAt, true), table.name).toBe(table.bytes.length);
    }
    expect(sum(find(tables, 'RSDP').bytes.subarray(0, 20))).toBe(0); // §5.2.5.3: the first part by itself
  });

  it('lie in their area, aligned, one after the other', () => {
    const placed = tables.filter(({ name }) => name !== 'RSDP').sort((a, b) => a.at - b.at);
    let end: number = ACPI_TABLES;
    for (const { at, bytes } of placed) {
      expect(at % 16).toBe(0);
      expect(at).toBeGreaterThanOrEqual(end);
      end = at + bytes.length;
    }
    expect(end).toBeLessThanOrEqual(ACPI_TABLES_END);
  });

  it('are found from the RSDP', () => {
    const rsdp = find(tables, 'RSDP');
    const xsdt = find(tables, 'XSDT');
    const fadt = find(tables, 'FADT');
    expect(rsdp.at).toBe(0xe_0000);
    expect(text(rsdp, 0, 8)).toBe('RSD PTR ');
    expect(rsdp.bytes[15]).toBe(2);
    expect(view(rsdp).getBigUint64(24, true)).toBe(BigInt(xsdt.at));
    expect(text(xsdt, 0, 4)).toBe('XSDT');
    expect([36, 44].map((at) => Number(view(xsdt).getBigUint64(at, true)))).toEqual([
      fadt.at,
      find(tables, 'MADT').at,
    ]);
    expect(xsdt.bytes.length).toBe(52);
    expect(view(fadt).getBigUint64(140, true)).toBe(BigInt(find(tables, 'DSDT').at));
    expect(view(fadt).getUint32(40, true)).toBe(find(tables, 'DSDT').at);
  });

  it('list every CPU and the IOAPIC once in the MADT', () => {
    const { bytes } = find(tables, 'MADT');
    const entries: number[][] = [];
    for (let at = 44; at < bytes.length; at += bytes[at + 1]!)
      entries.push([...bytes.subarray(at, at + bytes[at + 1]!)]);
    expect(entries.filter(([type]) => type === 0)).toEqual(
      Array.from({ length: cpus }, (_, id) => [0, 8, id, id, 1, 0, 0, 0]),
    );
    expect(entries.filter(([type]) => type === 1)).toEqual([[1, 12, cpus, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]]);
    expect(entries.filter(([type]) => type === 4)).toEqual([[4, 6, 0xff, 0, 0, 1]]);
    expect(entries.length).toBe(cpus + 2);
    // The local APICs' address, and PCAT_COMPAT.
    expect([...bytes.subarray(36, 44)]).toEqual([0, 0, 0xe0, 0xfe, 1, 0, 0, 0]);
  });

  it('have a name for every CPU and device in the DSDT', () => {
    const dsdt = text(find(tables, 'DSDT'), 0, find(tables, 'DSDT').bytes.length);
    expect(dsdt.split('ACPI0007').length - 1).toBe(cpus);
    expect(dsdt.split('LNRO0005').length - 1).toBe(devices);
    expect(new Set(dsdt.match(/V[0-9A-F]{3}(?=._HID)/gs)).size).toBe(devices);
  });
});

describe('the ACPI tables', () => {
  it('take what the arithmetic says, at the most this machine can be', () => {
    const size = (cpus: number, devices: number): Record<string, number> =>
      Object.fromEntries(acpiTables(machine(cpus, devices)).map(({ name, bytes }) => [name, bytes.length]));
    const most = size(32, VIRTIO_GSIS.length);
    expect(most).toMatchObject({ RSDP: 36, XSDT: 52, FADT: 276, MADT: 44 + 32 * 8 + 12 + 6 });
    // A CPU is at most 30 bytes, a device 74, the rest below 450.
    expect(most['DSDT']!).toBeLessThan(450 + 32 * 30 + VIRTIO_GSIS.length * 74);
    const total = Object.values(most).reduce((all, one) => all + one, 0);
    expect(total).toBeLessThan(4096);
  });

  it('say that the hardware is reduced, and where sleep and reset are', () => {
    const fadt = find(acpiTables(machine(1, 0)), 'FADT');
    const flags = view(fadt).getUint32(112, true);
    expect(fadt.bytes.length).toBe(276);
    expect([fadt.bytes[8], fadt.bytes[131]]).toEqual([6, 5]);
    expect((flags >>> 20) & 1).toBe(1); // HW_REDUCED_ACPI
    expect((flags >>> 10) & 1).toBe(1); // RESET_REG_SUP
    expect((flags >>> 4) & 3).toBe(3); // no fixed power or sleep button
    const register = (at: number): number[] => [...fadt.bytes.subarray(at, at + 12)];
    const port = (offset: number): number[] => [1, 8, 0, 1, offset, 6, 0, 0, 0, 0, 0, 0];
    expect(register(116)).toEqual(port(2));
    expect(fadt.bytes[128]).toBe(1);
    expect(register(244)).toEqual(port(0));
    expect(register(256)).toEqual(port(1));
    // Legacy devices, no 8042 to probe, no VGA, a CMOS clock.
    expect(view(fadt).getUint16(109, true)).toBe(0b0101);
  });

  it('refuse a machine that does not fit', () => {
    expect(() => acpiTables(machine(1, 2000))).toThrow(RangeError);
  });

  it('are written where they belong, with the generation id', () => {
    const memory = GuestMemory.over(new Uint8Array(0x10_0000));
    const description = machine(2, 1);
    const generation = Uint8Array.from({ length: 16 }, (_, index) => index + 1);
    writeAcpiTables(memory, description, generation);
    for (const { at, bytes } of acpiTables(description))
      expect(memory.slice(at, bytes.length)).toEqual(bytes);
    expect(memory.slice(VM_GENERATION_ID, 16)).toEqual(generation);
  });
});
