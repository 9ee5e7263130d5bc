/** Sequence numbers: 32 bits that wrap (RFC 9293 §3.4). Comparisons hold for numbers less than 2^31 apart. */

export const add = (a: number, b: number): number => (a + b) >>> 0;
/** How far `a` is behind `b`; negative when it is ahead. */
export const distance = (a: number, b: number): number => (b - a) | 0;
export const before = (a: number, b: number): boolean => ((a - b) | 0) < 0;
export const notAfter = (a: number, b: number): boolean => ((a - b) | 0) <= 0;
