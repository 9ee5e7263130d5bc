/**
 * The Multiple APIC Description Table (ACPI 6.5 §5.2.12): the CPUs and how interrupts reach them; the same as the MP table
 * says. No source overrides: every ISA interrupt is the IOAPIC's pin of its own number, edge, active high.
 */
import { IOAPIC, LAPIC } from '../layout.js';
import { littleEndian } from './aml.js';
import { HEADER_SIZE, Table } from './table.js';

const REVISION = 6;
const PREFIX_SIZE = HEADER_SIZE + 8;
const TYPE = { LOCAL_APIC: 0, IO_APIC: 1, LOCAL_APIC_NMI: 4 } as const;
/** Two 8259s are there, to be masked (§5.2.12 table 5.20). */
const PCAT_COMPAT = 1;
const ENABLED = 1;
const ALL_PROCESSORS = 0xff;
const LINT1 = 1;

/** @param cpus 1 … 254: their APIC ids fit a local APIC structure's byte, and the IOAPIC has the one behind */
export function madt(cpus: number): Uint8Array {
  const entries = [
    ...Array.from({ length: cpus }, (_, id) => [TYPE.LOCAL_APIC, 8, id, id, ...littleEndian(ENABLED, 4)]),
    [TYPE.IO_APIC, 12, cpus, 0, ...littleEndian(IOAPIC, 4), ...littleEndian(0, 4)],
    [TYPE.LOCAL_APIC_NMI, 6, ALL_PROCESSORS, ...littleEndian(0, 2), LINT1],
  ].flat();
  const table = new Table({ signature: 'APIC', revision: REVISION, length: PREFIX_SIZE + entries.length });
  table.u32(HEADER_SIZE, LAPIC);
  table.u32(HEADER_SIZE + 4, PCAT_COMPAT);
  table.set(PREFIX_SIZE, entries);
  return table.seal();
}
