/**
 * The MultiProcessor Specification 1.4 table: which CPUs exist and how ISA interrupts reach the IOAPIC. Kernels without
 * ACPI believe it.
 */
import { gpa } from '../base/units.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import { EBDA, IOAPIC, LAPIC } from './layout.js';

/** Entry types, §4.3. */
const TYPE = { PROCESSOR: 0, BUS: 1, IOAPIC: 2, INTERRUPT: 3, LOCAL_INTERRUPT: 4 } as const;
const INTERRUPT = { INT: 0, NMI: 1, EXTINT: 3 } as const;
const CPU = { ENABLED: 1, BOOTSTRAP: 2 } as const;
const APIC_VERSION = 0x14; // integrated, xAPIC
const ISA_BUS = 0;
/** Inputs of KVM's IOAPIC. */
const PINS = 24;
const ALL_LAPICS = 0xff;
/** Family, model, stepping and features (§4.3.1) of a P6: kernels read CPUID instead. */
const CPU_SIGNATURE = 0x600;
const CPU_FEATURES = 0x201; // FPU, APIC

/** The floating pointer (16 bytes) and behind it the configuration table. @param cpus 1 … 254 */
export function writeMpTable(memory: GuestMemory, cpus: number): void {
  const ioapicId = cpus; // the first free APIC id
  const entries: Uint8Array[] = [];
  for (let id = 0; id < cpus; id += 1) {
    const flags = CPU.ENABLED | (id === 0 ? CPU.BOOTSTRAP : 0);
    entries.push(
      bytes(
        TYPE.PROCESSOR,
        id,
        APIC_VERSION,
        flags,
        ...u32(CPU_SIGNATURE),
        ...u32(CPU_FEATURES),
        ...u32(0),
        ...u32(0),
      ),
    );
  }
  entries.push(bytes(TYPE.BUS, ISA_BUS, ...ascii('ISA   ')));
  entries.push(bytes(TYPE.IOAPIC, ioapicId, 0x11, 1, ...u32(IOAPIC)));
  // Every pin is an ISA interrupt of its own number, "conforms to the bus": edge, active high. virtio's lie above 4.
  for (let pin = 0; pin < PINS; pin += 1) {
    entries.push(bytes(TYPE.INTERRUPT, INTERRUPT.INT, 0, 0, ISA_BUS, pin, ioapicId, pin));
  }
  entries.push(bytes(TYPE.LOCAL_INTERRUPT, INTERRUPT.EXTINT, 0, 0, ISA_BUS, 0, 0, 0));
  entries.push(bytes(TYPE.LOCAL_INTERRUPT, INTERRUPT.NMI, 0, 0, ISA_BUS, 0, ALL_LAPICS, 1));

  const length = 44 + entries.reduce((sum, entry) => sum + entry.length, 0);
  const table = new Uint8Array(length);
  table.set(
    bytes(
      ...ascii('PCMP'),
      ...u16(length),
      4, // specification 1.4
      0, // checksum, below
      ...ascii('TYPEVSR '),
      ...ascii('MICROVM     '),
      ...u32(0), // OEM table
      ...u16(0),
      ...u16(entries.length),
      ...u32(LAPIC),
      ...u16(0), // extended table
      0,
      0,
    ),
  );
  let at = 44;
  for (const entry of entries) {
    table.set(entry, at);
    at += entry.length;
  }
  table[7] = checksum(table);

  const pointer = bytes(...ascii('_MP_'), ...u32(EBDA + 16), 1, 4, 0, 0, 0, 0, 0, 0);
  pointer[10] = checksum(pointer);
  memory.write(EBDA, pointer);
  memory.write(gpa(EBDA + 16), table);
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const u16 = (value: number): number[] => [value & 0xff, value >>> 8];
const u32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
const ascii = (text: string): number[] => [...text].map((char) => char.charCodeAt(0));

/** The byte that makes all bytes sum to 0 modulo 256. */
const checksum = (table: Uint8Array): number => -table.reduce((sum, byte) => sum + byte, 0) & 0xff;
