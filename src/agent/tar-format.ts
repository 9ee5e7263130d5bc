/**
 * tar archives: headers as GNU tar and busybox both read them are written (long names in entries of their own, numbers beyond octal in
 * base 256); those of POSIX 1003.1 pax and of old tars are read as well. A guest writes what is read here: nothing in it is believed.
 */
import { VmmError } from '../base/errors.js';

/** An archive is made of these. */
export const BLOCK = 512;
/** Longest name or set of pax records that is read, bytes; Linux has PATH_MAX = 4096. */
const MAX_META = 65_536;

/** What an entry may be; `other` is what nobody here carries: devices, pipes. */
export type TarType = 'file' | 'folder' | 'symlink' | 'link' | 'other';

export interface TarEntry {
  /** As it stands in the archive. */
  readonly name: string;
  readonly type: TarType;
  /** Permission bits. */
  readonly mode: number;
  /** Bytes of content that follow. */
  readonly size: number;
  /** ms since 1970. */
  readonly mtimeMs: number;
  /** Where a link leads; empty for others. */
  readonly target: string;
}

const FLAGS: Readonly<Record<TarType, string>> = {
  file: '0',
  link: '1',
  symlink: '2',
  folder: '5',
  other: '',
};
const TYPES = new Map<string, TarType>([
  ['0', 'file'],
  ['\0', 'file'],
  ['7', 'file'],
  ['1', 'link'],
  ['2', 'symlink'],
  ['5', 'folder'],
  ['3', 'other'],
  ['4', 'other'],
  ['6', 'other'],
]);

export const tarError = (what: string): VmmError =>
  new VmmError('ERR_AGENT', `a damaged archive from the guest: ${what}`);

/** Bytes after `size` bytes of content up to the next block. */
export const padding = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK;

/** An entry's header, with the long names that go before it. */
export function encodeEntry(entry: TarEntry): Buffer {
  const name = Buffer.from(entry.name);
  const target = Buffer.from(entry.target);
  return Buffer.concat([
    ...(name.length > 100 ? longName('L', name) : []),
    ...(target.length > 100 ? longName('K', target) : []),
    header(name, target, FLAGS[entry.type], entry),
  ]);
}

function longName(flag: string, name: Buffer): Buffer[] {
  const size = name.length + 1;
  const facts = { mode: 0, size, mtimeMs: 0 };
  const content = Buffer.alloc(size + padding(size));
  name.copy(content);
  return [header(Buffer.from('././@LongLink'), Buffer.alloc(0), flag, facts), content];
}

function header(
  name: Buffer,
  target: Buffer,
  flag: string,
  { mode, size, mtimeMs }: Pick<TarEntry, 'mode' | 'size' | 'mtimeMs'>,
): Buffer {
  const block = Buffer.alloc(BLOCK);
  name.copy(block, 0, 0, Math.min(name.length, 100));
  putNumber(block, 100, 8, mode);
  putNumber(block, 108, 8, 0); // root's: the host's owners are nobody in the guest
  putNumber(block, 116, 8, 0);
  putNumber(block, 124, 12, size);
  putNumber(block, 136, 12, Math.max(0, Math.floor(mtimeMs / 1000)));
  block.write(flag, 156, 'latin1');
  target.copy(block, 157, 0, Math.min(target.length, 100));
  block.write('ustar  \0', 257, 'latin1');
  block.write(`${sumOf(block).toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function putNumber(block: Buffer, at: number, length: number, value: number): void {
  const octal = value.toString(8);
  if (octal.length < length) {
    block.write(octal.padStart(length - 1, '0'), at, 'latin1');
    return;
  }
  for (let index = length - 1, rest = value; index >= 0; index -= 1, rest = Math.floor(rest / 256))
    block[at + index] = rest % 256;
  block[at]! |= 0x80;
}

/** Of all bytes, the sum's own field taken as spaces. */
function sumOf(block: Buffer): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < BLOCK; at += 1) if (at < 148 || at >= 156) sum += block[at]!;
  return sum;
}

/** Reads an exact number of bytes. */
export interface ByteSource {
  /** @throws VmmError when the archive ends before */
  read(length: number): Promise<Buffer>;
}

/** @returns the next entry, whose content is then to be read; undefined at the archive's end @throws VmmError ERR_AGENT */
export async function readEntry(source: ByteSource): Promise<TarEntry | undefined> {
  let [name, target, size]: [string?, string?, number?] = [];
  for (;;) {
    const block = await source.read(BLOCK);
    if (block.every((byte) => byte === 0)) return undefined;
    if (number(block, 148, 8) !== sumOf(block)) throw tarError('a wrong checksum');
    const flag = block.toString('latin1', 156, 157);
    const length = number(block, 124, 12);
    if (flag === 'L' || flag === 'K' || flag === 'x' || flag === 'g') {
      if (length > MAX_META) throw tarError(`a name of ${length} bytes`);
      const meta = (await source.read(length + padding(length))).subarray(0, length);
      if (flag === 'L') name = cString(meta);
      else if (flag === 'K') target = cString(meta);
      else if (flag === 'x')
        ({ path: name = name, linkpath: target = target, size = size } = paxRecords(meta));
      continue;
    }
    const type = TYPES.get(flag);
    if (!type) throw tarError(`an entry of type ${JSON.stringify(flag)}`);
    const isPosix = block.toString('latin1', 257, 263) === 'ustar\0';
    const prefix = isPosix ? cString(block.subarray(345, 500)) : '';
    const short = cString(block.subarray(0, 100));
    return {
      name: name ?? (prefix ? `${prefix}/${short}` : short),
      type,
      mode: number(block, 100, 8) & 0o7777,
      size: type === 'file' ? (size ?? length) : 0,
      mtimeMs: number(block, 136, 12) * 1000,
      target: target ?? cString(block.subarray(157, 257)),
    };
  }
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

/** Octal, or base 256. */
function number(block: Buffer, at: number, length: number): number {
  let value = 0;
  if (block[at]! & 0x80) {
    for (let index = 1; index < length; index += 1) value = value * 256 + block[at + index]!;
  } else {
    const text = cString(block.subarray(at, at + length)).trim();
    if (!/^[0-7]*$/.test(text)) throw tarError(`a number that is ${JSON.stringify(text)}`);
    value = text === '' ? 0 : Number.parseInt(text, 8);
  }
  if (!Number.isSafeInteger(value)) throw tarError('a number too large');
  return value;
}

/** Records `length key=value\n`; those that matter. */
function paxRecords(bytes: Buffer): { path?: string; linkpath?: string; size?: number } {
  const found: { path?: string; linkpath?: string; size?: number } = {};
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const length = space < 0 ? 0 : Number(bytes.toString('latin1', at, space));
    const equals = bytes.indexOf(0x3d, space);
    if (!(length > space - at + 1) || at + length > bytes.length || equals < 0)
      throw tarError('a pax record');
    const key = bytes.toString('utf8', space + 1, equals);
    const value = bytes.toString('utf8', equals + 1, at + length - 1);
    if (key === 'path' || key === 'linkpath') found[key] = value;
    if (key === 'size') {
      found.size = Number(value);
      if (!Number.isSafeInteger(found.size) || found.size < 0) throw tarError(`a size that is ${value}`);
    }
    at += length;
  }
  return found;
}
