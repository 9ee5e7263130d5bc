/**
 * The Internet checksum (RFC 1071): the ones' complement sum of 16-bit words, big-endian, an odd byte padded with zero.
 * A sum is carried unfolded as a number below 2^53, so that parts can be added; parts but the last must have even lengths.
 * Runs on: main.
 */

/** Adds the words of `bytes[start … end)` to `sum`. */
export function addWords(bytes: Uint8Array, start: number, end: number, sum = 0): number {
  let total = sum;
  let at = start;
  // Four words in one turn: the loop's own work is a good part of the time.
  for (; at + 8 <= end; at += 8) {
    total +=
      ((bytes[at]! << 8) | bytes[at + 1]!) +
      ((bytes[at + 2]! << 8) | bytes[at + 3]!) +
      ((bytes[at + 4]! << 8) | bytes[at + 5]!) +
      ((bytes[at + 6]! << 8) | bytes[at + 7]!);
  }
  for (; at + 2 <= end; at += 2) total += (bytes[at]! << 8) | bytes[at + 1]!;
  if (at < end) total += bytes[at]! << 8;
  return total;
}

/** Stores a 16-bit word as the network has it. */
export function setU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 0xff;
}

/** The carries added back in: 16 bits, not yet complemented. */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x1_0000) + Math.floor(folded / 0x1_0000);
  return folded;
}

/** The checksum of a sum. Data that includes its own right checksum gives 0. */
export const finish = (sum: number): number => ~fold(sum) & 0xffff;

/** The sum of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1): it is the same for both versions of IP. */
export function pseudoHeader(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): number {
  const sum = addWords(source, 0, source.length) + addWords(destination, 0, destination.length);
  return sum + protocol + (length >>> 16) + (length & 0xffff);
}
