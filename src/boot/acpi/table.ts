/** What all ACPI tables share (ACPI 6.5 §5.2): the header, the checksum, and addresses of registers. */
import { viewOf } from '../reader.js';

/** DESCRIPTION_HEADER, §5.2.6: bytes. */
export const HEADER_SIZE = 36;
const HEADER = {
  LENGTH: 4, // u32
  REVISION: 8, // u8
  CHECKSUM: 9, // u8
  OEM_ID: 10,
  OEM_TABLE_ID: 16,
  OEM_REVISION: 24, // u32
  CREATOR_ID: 28,
  CREATOR_REVISION: 32, // u32
} as const;

export const OEM_ID = 'TYPEVS';
const OEM_TABLE_ID = 'MICROVM ';
const CREATOR_ID = 'TYVS';
const REVISION = 1;

export interface TableHeader {
  /** Four characters. */
  readonly signature: string;
  readonly revision: number;
  /** Bytes, with the header. */
  readonly length: number;
}

/** Generic Address Structure, §5.2.3.2: a byte-wide I/O port. */
const SYSTEM_IO = 1;
const BYTE_ACCESS = 1;
export const GAS_SIZE = 12;

/** A table under construction: zeros behind its header. `seal` comes last. */
export class Table {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor({ signature, revision, length }: TableHeader) {
    this.bytes = new Uint8Array(length);
    this.#view = viewOf(this.bytes);
    this.ascii(0, signature);
    this.u32(HEADER.LENGTH, length);
    this.u8(HEADER.REVISION, revision);
    this.ascii(HEADER.OEM_ID, OEM_ID);
    this.ascii(HEADER.OEM_TABLE_ID, OEM_TABLE_ID);
    this.u32(HEADER.OEM_REVISION, REVISION);
    this.ascii(HEADER.CREATOR_ID, CREATOR_ID);
    this.u32(HEADER.CREATOR_REVISION, REVISION);
  }

  u8(offset: number, value: number): void {
    this.#view.setUint8(offset, value);
  }
  u16(offset: number, value: number): void {
    this.#view.setUint16(offset, value, true);
  }
  u32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
  }
  u64(offset: number, value: number): void {
    this.#view.setBigUint64(offset, BigInt(value), true);
  }
  ascii(offset: number, text: string): void {
    writeAscii(this.bytes, offset, text);
  }
  set(offset: number, bytes: ArrayLike<number>): void {
    this.bytes.set(bytes, offset);
  }
  /** A byte-wide register at an I/O port. */
  port(offset: number, port: number): void {
    this.set(offset, [SYSTEM_IO, 8, 0, BYTE_ACCESS]);
    this.u64(offset + 4, port);
  }

  /** Fills in the checksum. @returns the finished table */
  seal(): Uint8Array {
    this.bytes[HEADER.CHECKSUM] = checksum(this.bytes);
    return this.bytes;
  }
}

export function writeAscii(bytes: Uint8Array, offset: number, text: string): void {
  for (const [index, char] of [...text].entries()) bytes[offset + index] = char.charCodeAt(0);
}

/** The byte that makes all bytes sum to 0 modulo 256; the field itself must be 0 meanwhile. */
export const checksum = (bytes: Uint8Array): number => -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
