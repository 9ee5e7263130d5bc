/**
 * ACPI Machine Language, as far as this machine's DSDT needs it (ACPI 6.5 §20.2). Each function returns the bytes of one
 * construct; lists of them nest. Names of functions are ASL's (§19), names of constants the grammar's.
 *
 * A mistake in a description is ours and throws RangeError: nothing here comes from a guest or a user.
 */

/** Bytes of one or more AML terms. */
export type Aml = readonly number[];

const OP = {
  ZERO: 0x00,
  ONE: 0x01,
  NAME: 0x08,
  BYTE_PREFIX: 0x0a,
  WORD_PREFIX: 0x0b,
  DWORD_PREFIX: 0x0c,
  STRING_PREFIX: 0x0d,
  QWORD_PREFIX: 0x0e,
  SCOPE: 0x10,
  BUFFER: 0x11,
  PACKAGE: 0x12,
  METHOD: 0x14,
  DUAL_NAME_PREFIX: 0x2e,
  MULTI_NAME_PREFIX: 0x2f,
  LOCAL0: 0x60,
  ARG0: 0x68,
  STORE: 0x70,
  AND: 0x7b,
  NOTIFY: 0x86,
  IF: 0xa0,
  RETURN: 0xa4,
} as const;
const EXT_OP = { PREFIX: 0x5b, REGION: 0x80, FIELD: 0x81, DEVICE: 0x82 } as const;
/** NullName (§20.2.2) where a result goes nowhere. */
const NO_TARGET: Aml = [0x00];

/** Address spaces of an operation region, §19.6.100. */
export const REGION = { SYSTEM_MEMORY: 0, SYSTEM_IO: 1 } as const;

/**
 * A name or path: `PWRB`, `\_SB.PWRB`, `^GED`. Short segments are padded with underscores.
 * @throws RangeError when it is none
 */
export function path(name: string): Aml {
  const match = /^(\\|\^*)(.*)$/.exec(name)!;
  const prefix = ascii(match[1]!);
  const segments = match[2] === '' ? [] : match[2]!.split('.');
  if (segments.length === 0 && prefix.length === 0) throw new RangeError('an empty AML name');
  const bytes = segments.flatMap(segment);
  if (segments.length === 0) return [...prefix, 0x00];
  if (segments.length === 1) return [...prefix, ...bytes];
  if (segments.length === 2) return [...prefix, OP.DUAL_NAME_PREFIX, ...bytes];
  return [...prefix, OP.MULTI_NAME_PREFIX, byte(segments.length), ...bytes];
}

/** NameSeg, §20.2.2. */
function segment(name: string): number[] {
  if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(name)) throw new RangeError(`"${name}" is not an AML name`);
  return ascii(name.padEnd(4, '_'));
}

/** An integer constant in its shortest form. @param value 0 … 2^53 − 1 */
export function integer(value: number): Aml {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is not an AML integer`);
  if (value === 0) return [OP.ZERO];
  if (value === 1) return [OP.ONE];
  if (value < 2 ** 8) return [OP.BYTE_PREFIX, value];
  if (value < 2 ** 16) return [OP.WORD_PREFIX, ...littleEndian(value, 2)];
  if (value < 2 ** 32) return [OP.DWORD_PREFIX, ...littleEndian(value, 4)];
  return [OP.QWORD_PREFIX, ...littleEndian(value, 8)];
}

/** @throws RangeError for characters that are not printable ASCII */
export function string(text: string): Aml {
  if (!/^[ -~]*$/.test(text)) throw new RangeError('an AML string is printable ASCII');
  return [OP.STRING_PREFIX, ...ascii(text), 0x00];
}

/** EISAID("PNP0501"): three letters of five bits and four hex digits, the bytes in big-endian order (§19.3.4). */
export function eisaId(id: string): Aml {
  if (!/^[A-Z]{3}[0-9A-F]{4}$/.test(id)) throw new RangeError(`"${id}" is not an EISA id`);
  const [a, b, c] = ascii(id).map((code) => code - 0x40) as [number, number, number];
  const letters = (a << 10) | (b << 5) | c;
  const digits = Number.parseInt(id.slice(3), 16);
  return [OP.DWORD_PREFIX, letters >>> 8, letters & 0xff, digits >>> 8, digits & 0xff];
}

export const buffer = (bytes: Aml): Aml => [OP.BUFFER, ...sized([...integer(bytes.length), ...bytes])];

/** @param elements at most 255 */
export const pack = (...elements: readonly Aml[]): Aml => [
  OP.PACKAGE,
  ...sized([byte(elements.length), ...elements.flat()]),
];

export const name = (at: string, value: Aml): Aml => [OP.NAME, ...path(at), ...value];

export const scope = (at: string, ...terms: readonly Aml[]): Aml => [
  OP.SCOPE,
  ...sized([...path(at), ...terms.flat()]),
];

export const device = (at: string, ...terms: readonly Aml[]): Aml => [
  EXT_OP.PREFIX,
  EXT_OP.DEVICE,
  ...sized([...path(at), ...terms.flat()]),
];

/** @param argCount 0 … 7 */
export function method(at: string, argCount: number, ...terms: readonly Aml[]): Aml {
  if (argCount > 7) throw new RangeError('an AML method takes at most 7 arguments');
  return [OP.METHOD, ...sized([...path(at), argCount, ...terms.flat()])];
}

export const operationRegion = (at: string, space: number, offset: number, length: number): Aml => [
  EXT_OP.PREFIX,
  EXT_OP.REGION,
  ...path(at),
  byte(space),
  ...integer(offset),
  ...integer(length),
];

/** FieldFlags §20.2.5.2: byte accesses, no global lock, bits beside the field preserved. */
const BYTE_ACCESS = 0x01;

/**
 * Fields of a region, accessed by bytes, in order from its start. An element without a name skips its bits.
 */
export const field = (
  region: string,
  ...elements: readonly { readonly name?: string; readonly bits: number }[]
): Aml => [
  EXT_OP.PREFIX,
  EXT_OP.FIELD,
  ...sized([
    ...path(region),
    BYTE_ACCESS,
    ...elements.flatMap((element) => [
      ...(element.name === undefined ? [0x00] : segment(element.name)),
      ...pkgLength(element.bits),
    ]),
  ]),
];

export const local = (index: number): Aml => [OP.LOCAL0 + index];
export const arg = (index: number): Aml => [OP.ARG0 + index];
export const store = (value: Aml, target: Aml): Aml => [OP.STORE, ...value, ...target];
export const and = (a: Aml, b: Aml): Aml => [OP.AND, ...a, ...b, ...NO_TARGET];
export const notify = (target: Aml, value: number): Aml => [OP.NOTIFY, ...target, ...integer(value)];
export const returns = (value: Aml): Aml => [OP.RETURN, ...value];
export const when = (condition: Aml, ...terms: readonly Aml[]): Aml => [
  OP.IF,
  ...sized([...condition, ...terms.flat()]),
];

/** PkgLength and what it measures: its own bytes count too. */
function sized(body: Aml): Aml {
  for (let own = 1; own <= 4; own += 1) {
    const length = pkgLength(body.length + own);
    if (length.length === own) return [...length, ...body];
  }
  throw new RangeError('an AML package is too long');
}

/**
 * PkgLength, §20.2.4: up to 63 in one byte; beyond, the first byte's top bits tell how many follow, its low four are the
 * value's, and the rest follows in little-endian order.
 */
function pkgLength(value: number): number[] {
  if (value < 2 ** 6) return [value];
  const more = value < 2 ** 12 ? 1 : value < 2 ** 20 ? 2 : 3;
  if (value >= 2 ** 28) throw new RangeError('an AML package is too long');
  return [(more << 6) | (value & 0x0f), ...littleEndian(value >>> 4, more)];
}

/** @param count bytes, up to 8 */
export function littleEndian(value: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => Math.floor(value / 2 ** (8 * index)) % 256);
}

function byte(value: number): number {
  if (value > 0xff) throw new RangeError(`${value} does not fit into a byte`);
  return value;
}

const ascii = (text: string): number[] => [...text].map((char) => char.charCodeAt(0));
