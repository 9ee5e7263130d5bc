/**
 * All ACPI tables of a machine and where they go: the RSDP where a guest looks for it, the others one after the other.
 *
 *   RSDP ──▶ XSDT ──▶ FADT ──▶ DSDT
 *                └──▶ MADT
 */
import { alignUp, type Gpa, gpa } from '../../base/units.js';
import type { GuestMemory } from '../../memory/guest-memory.js';
import { ACPI_TABLES, ACPI_TABLES_END, RSDP, VM_GENERATION_ID } from '../layout.js';
import type { AcpiDescription } from './description.js';
import { dsdt } from './dsdt.js';
import { fadt } from './fadt.js';
import { madt } from './madt.js';
import { rsdp, xsdt } from './roots.js';

export interface PlacedTable {
  readonly name: 'RSDP' | 'XSDT' | 'FADT' | 'MADT' | 'DSDT';
  readonly at: Gpa;
  readonly bytes: Uint8Array;
}

const ALIGNMENT = 16;

/**
 * @throws RangeError when they do not fit; 254 vCPUs and a thousand virtio devices do, see the unit test
 */
export function acpiTables(description: AcpiDescription): PlacedTable[] {
  const placed: PlacedTable[] = [];
  let next: number = ACPI_TABLES;
  const place = (name: PlacedTable['name'], bytes: Uint8Array): Gpa => {
    const at = gpa(next);
    next = alignUp(at + bytes.length, ALIGNMENT);
    if (next > ACPI_TABLES_END) throw new RangeError(`the ACPI tables end at ${next}, too far`);
    placed.push({ name, at, bytes });
    return at;
  };
  const dsdtAt = place('DSDT', dsdt(description, VM_GENERATION_ID));
  const fadtAt = place('FADT', fadt(description.power, dsdtAt));
  const madtAt = place('MADT', madt(description.cpus));
  const xsdtAt = place('XSDT', xsdt([fadtAt, madtAt]));
  placed.push({ name: 'RSDP', at: RSDP, bytes: rsdp(xsdtAt) });
  return placed;
}

/** @param generation 16 random bytes, the VM's first generation id */
export function writeAcpiTables(
  memory: GuestMemory,
  description: AcpiDescription,
  generation: Uint8Array,
): void {
  for (const { at, bytes } of acpiTables(description)) memory.write(at, bytes);
  memory.write(VM_GENERATION_ID, generation);
}
