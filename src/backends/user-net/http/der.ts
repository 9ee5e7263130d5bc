/** ASN.1 in its distinguished encoding (X.690), as far as a certificate needs it: written only, never read. */

/** One value: its tag, its length, its content. */
export function tlv(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >>> 8, length & 0xff];
  return Uint8Array.from([tag, ...size, ...content]);
}

export const sequence = (...parts: readonly Uint8Array[]): Uint8Array => tlv(0x30, ...parts);
export const set = (...parts: readonly Uint8Array[]): Uint8Array => tlv(0x31, ...parts);
export const octets = (...parts: readonly Uint8Array[]): Uint8Array => tlv(0x04, ...parts);
export const utf8 = (text: string): Uint8Array => tlv(0x0c, new TextEncoder().encode(text));
export const TRUE = tlv(0x01, Uint8Array.of(0xff));

/** A context-specific value, constructed or (`primitive`) with bytes of its own. */
export const tagged = (number: number, ...parts: readonly Uint8Array[]): Uint8Array =>
  tlv(0xa0 | number, ...parts);
export const primitive = (number: number, bytes: Uint8Array): Uint8Array => tlv(0x80 | number, bytes);

/** A positive number, big-endian. */
export function integer(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const least = bytes.subarray(start);
  return tlv(0x02, ...(least[0]! & 0x80 ? [Uint8Array.of(0)] : []), least);
}

/** @param unused bits at its end */
export const bits = (bytes: Uint8Array, unused = 0): Uint8Array => tlv(0x03, Uint8Array.of(unused), bytes);

/** `1.2.840.10045.4.3.2` */
export function oid(text: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return tlv(0x06, Uint8Array.from(bytes));
}

/** GeneralizedTime where UTCTime cannot say the year (RFC 5280 §4.1.2.5). */
export function time(date: Date): Uint8Array {
  const digits = date.toISOString().replace(/[-:T]|\..*$/g, '');
  const short = date.getUTCFullYear() < 2050;
  return tlv(short ? 0x17 : 0x18, new TextEncoder().encode(`${short ? digits.slice(2) : digits}Z`));
}
