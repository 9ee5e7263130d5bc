/** Resource descriptors of a device's _CRS (ACPI 6.5 §6.4): which addresses and interrupts it has. */
import { type Aml, buffer, littleEndian } from './aml.js';

const TAG = { IO: 0x47, END: 0x79, MEMORY32_FIXED: 0x86, EXTENDED_INTERRUPT: 0x89 } as const;
const READ_WRITE = 1;
const DECODE_16 = 1;
/** §6.4.3.6: the device uses it, edge, active high, exclusive, no wake. */
const CONSUMER_EDGE_HIGH_EXCLUSIVE = 0x03;

/** ResourceTemplate(): descriptors and the end tag. A checksum of 0 is taken for right (§6.4.2.9). */
export const resourceTemplate = (...descriptors: readonly Aml[]): Aml =>
  buffer([...descriptors.flat(), TAG.END, 0x00]);

/** @param base below 4 GiB */
export function memory32Fixed(base: number, length: number): Aml {
  if (base + length > 2 ** 32) throw new RangeError('Memory32Fixed ends below 4 GiB');
  return [TAG.MEMORY32_FIXED, 9, 0, READ_WRITE, ...littleEndian(base, 4), ...littleEndian(length, 4)];
}

/** Interrupt(ResourceConsumer, Edge, ActiveHigh, Exclusive) { gsi } */
export const interrupt = (gsi: number): Aml => [
  TAG.EXTENDED_INTERRUPT,
  6,
  0,
  CONSUMER_EDGE_HIGH_EXCLUSIVE,
  1, // one interrupt
  ...littleEndian(gsi, 4),
];

/** IO(Decode16, port, port, 1, length) */
export const io = (port: number, length: number): Aml => [
  TAG.IO,
  DECODE_16,
  ...littleEndian(port, 2),
  ...littleEndian(port, 2),
  1, // alignment
  length,
];
