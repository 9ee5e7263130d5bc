/** The two tables through which a guest finds the others: RSDP (ACPI 6.5 §5.2.5) and XSDT (§5.2.8). */
import type { Gpa } from '../../base/units.js';
import { viewOf } from '../reader.js';
import { checksum, HEADER_SIZE, OEM_ID, Table, writeAscii } from './table.js';

const XSDT_REVISION = 1;
/** 2 since ACPI 2.0: the fields behind the first 20 bytes are there. */
const RSDP_REVISION = 2;
const RSDP_SIZE = 36;
const FIELD = {
  CHECKSUM: 8, // u8, over the first 20 bytes
  OEM_ID: 9,
  REVISION: 15, // u8
  LENGTH: 20, // u32
  XSDT_ADDRESS: 24, // u64
  EXTENDED_CHECKSUM: 32, // u8
} as const;
const FIRST_PART = 20;

export function xsdt(tables: readonly Gpa[]): Uint8Array {
  const table = new Table({
    signature: 'XSDT',
    revision: XSDT_REVISION,
    length: HEADER_SIZE + 8 * tables.length,
  });
  for (const [index, at] of tables.entries()) table.u64(HEADER_SIZE + 8 * index, at);
  return table.seal();
}

/** The root pointer. It names no RSDT: that one is for kernels before 2.0. */
export function rsdp(xsdtAt: Gpa): Uint8Array {
  const bytes = new Uint8Array(RSDP_SIZE);
  const view = viewOf(bytes);
  writeAscii(bytes, 0, 'RSD PTR ');
  writeAscii(bytes, FIELD.OEM_ID, OEM_ID);
  view.setUint8(FIELD.REVISION, RSDP_REVISION);
  view.setUint32(FIELD.LENGTH, RSDP_SIZE, true);
  view.setBigUint64(FIELD.XSDT_ADDRESS, BigInt(xsdtAt), true);
  bytes[FIELD.CHECKSUM] = checksum(bytes.subarray(0, FIRST_PART));
  bytes[FIELD.EXTENDED_CHECKSUM] = checksum(bytes);
  return bytes;
}
