/**
 * Sizes and guest addresses. Bytes unless a name says otherwise; a guest-physical address is a branded
 * number because 52 bits fit a double exactly and bigint arithmetic costs an order of magnitude more.
 */

export const KiB = 2 ** 10;
export const MiB = 2 ** 20;
export const GiB = 2 ** 30;
/** The page size of x86-64, bytes. */
export const PAGE_SIZE = 4 * KiB;

/** A guest-physical address: a whole number in 0 … 2^52 − 1 (SDM vol. 3 §4.1.4: MAXPHYADDR is at most 52). */
export type Gpa = number & { readonly __brand: 'Gpa' };
/** An address in this process. */
export type HostPtr = bigint & { readonly __brand: 'HostPtr' };
/** A global system interrupt: the number of an input of the in-kernel interrupt controllers. */
export type Gsi = number & { readonly __brand: 'Gsi' };

export const gpa = (value: number): Gpa => value as Gpa;
export const hostPtr = (value: bigint): HostPtr => value as HostPtr;
export const gsi = (value: number): Gsi => value as Gsi;

/** Rounds up to a multiple of `unit`, which is a power of two or any positive whole number. */
export const alignUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;
export const alignDown = (value: number, unit: number): number => Math.floor(value / unit) * unit;

/** `0xc000_1000`: how this project writes addresses for people. */
export function hex(value: number | bigint): string {
  const digits = value.toString(16);
  return `0x${digits.replace(/\B(?=(?:.{4})+$)/g, '_')}`;
}

/** `128 MiB`: the largest binary unit that divides `bytes` to at most one decimal. */
export function formatSize(bytes: number): string {
  for (const [unit, name] of [
    [GiB, 'GiB'],
    [MiB, 'MiB'],
    [KiB, 'KiB'],
  ] as const) {
    if (bytes >= unit) return `${Number((bytes / unit).toFixed(1))} ${name}`;
  }
  return `${bytes} B`;
}

const SUFFIX: Readonly<Record<string, number>> = { '': 1, K: KiB, M: MiB, G: GiB, T: GiB * KiB };

/**
 * Parses `268435456`, `256M`, `256MiB`, `1.5G`. Units are binary, as everywhere in virtualization.
 * @returns bytes, or undefined when `text` is not a size or not a whole number of bytes
 */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(text.trim());
  if (!match) return undefined;
  const bytes = Number(match[1]) * (SUFFIX[(match[2] ?? '').toUpperCase()] ?? Number.NaN);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
