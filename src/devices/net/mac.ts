/** Ethernet addresses as text and as bytes. Runs on: main. */
import { ADDRESS } from './protocol.js';

/** `02:00:00:00:00:01` → its bytes; undefined when it is none, or none of one card: all zero, or of a group. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  const bytes = Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
  return isCard(bytes) ? bytes : undefined;
}

/** Whether it may be a card's own: not all zero, and without the bit of groups (IEEE 802, §8.2). */
export const isCard = (bytes: Uint8Array): boolean =>
  bytes.length === ADDRESS && (bytes[0]! & 1) === 0 && bytes.some((byte) => byte !== 0);

export const formatMac = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');

/** Bytes 0 to 5 as one number, for tables. */
export const macNumber = (bytes: Uint8Array, at = 0): number =>
  ((bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!) * 2 ** 24 +
  ((bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!);
