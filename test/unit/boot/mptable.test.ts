import { describe, expect, it } from 'vitest';
import { gpa } from '../../../src/base/units.js';
import { EBDA, EBDA_END, IOAPIC, LAPIC } from '../../../src/boot/layout.js';
import { writeMpTable } from '../../../src/boot/mptable.js';
import { GuestMemory } from '../../../src/memory/guest-memory.js';

const ENTRY_SIZES: Readonly<Record<number, number>> = { 0: 20, 1: 8, 2: 8, 3: 8, 4: 8 };

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => total + byte, 0) & 0xff;
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/** Reads the table as a kernel does: pointer, header, entries (MP 1.4 §4). */
function readTable(cpus: number) {
  const ram = new Uint8Array(0x10_0000);
  writeMpTable(GuestMemory.over(ram), cpus);
  const pointer = ram.slice(EBDA, EBDA + 16);
  const view = new DataView(ram.buffer);
  const at = view.getUint32(EBDA + 4, true);
  const header = ram.slice(at, at + 44);
  const length = view.getUint16(at + 4, true);
  const count = view.getUint16(at + 34, true);
  const entries: Uint8Array[] = [];
  let next = at + 44;
  for (let i = 0; i < count; i += 1) {
    const size = ENTRY_SIZES[ram[next]!]!;
    entries.push(ram.slice(next, next + size));
    next += size;
  }
  const of = (type: number): Uint8Array[] => entries.filter((entry) => entry[0] === type);
  return { ram, pointer, header, length, at, end: next, table: ram.slice(at, at + length), entries, of };
}

describe.each([1, 2, 3, 8, 32, 254])('the MP table of %i CPUs', (cpus) => {
  const { ram, pointer, header, length, at, end, table, entries, of } = readTable(cpus);

  it('is found by its floating pointer, whose bytes sum to 0', () => {
    expect(text(pointer.subarray(0, 4))).toBe('_MP_');
    expect(pointer[8]).toBe(1); // paragraphs
    expect(pointer[9]).toBe(4); // MP 1.4
    expect(pointer[11]).toBe(0); // a table, no default configuration
    expect(sum(pointer)).toBe(0);
  });

  it('says how long it is, and its bytes sum to 0', () => {
    expect(text(header.subarray(0, 4))).toBe('PCMP');
    expect(end - at).toBe(length);
    expect(sum(table)).toBe(0);
    expect(new DataView(header.buffer).getUint32(36, true)).toBe(LAPIC);
  });

  it('stays in the reserved area', () => {
    expect(end).toBeLessThan(EBDA_END);
    expect(ram.subarray(0, EBDA).every((byte) => byte === 0)).toBe(true);
    expect(ram.subarray(end).every((byte) => byte === 0)).toBe(true);
  });

  it('has each CPU once, enabled, the first as the bootstrap processor', () => {
    expect(of(0).map((entry) => entry[1])).toEqual(Array.from({ length: cpus }, (_, index) => index));
    expect(of(0).map((entry) => entry[3])).toEqual([3, ...Array(cpus - 1).fill(1)]);
  });

  it('has one IOAPIC, whose id no CPU has', () => {
    const [ioapic] = of(2);
    expect(of(2)).toHaveLength(1);
    expect(ioapic![1]).toBe(cpus);
    expect(ioapic![3]).toBe(1);
    expect(new DataView(ioapic!.buffer).getUint32(4, true)).toBe(IOAPIC);
  });

  it('connects each ISA interrupt to the pin of its number, as the bus has it', () => {
    const bus = of(1)[0]!;
    expect(text(bus.subarray(2))).toBe('ISA   ');
    expect(of(3)).toHaveLength(24);
    for (const [pin, entry] of of(3).entries())
      expect([...entry]).toEqual([3, 0, 0, 0, bus[1], pin, cpus, pin]);
  });

  it('connects the PIC and the NMI to the local APICs', () => {
    expect(of(4).map((entry) => [entry[1], entry[6], entry[7]])).toEqual([
      [3, 0, 0],
      [1, 0xff, 1],
    ]);
  });

  it('has its entries sorted by type (§4.3)', () => {
    const types = entries.map((entry) => entry[0]!);
    expect(types).toEqual([...types].sort((a, b) => a - b));
  });
});

it('the MP table lies where kernels look for it: in the last KiB of base memory', () => {
  expect(EBDA).toBe(gpa(639 * 1024));
});
