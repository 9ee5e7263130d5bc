/**
 * What a kernel module says of itself: the `key=value` strings of its .modinfo section (ELF-64, little endian).
 */
import { RecipeError } from './recipe-error.js';

/** ELF-64 header and section header fields, by offset (System V ABI, "Object Files"). */
const ELF = { magic: 0x464c_457f, shoff: 0x28, shentsize: 0x3a, shnum: 0x3c, shstrndx: 0x3e };
const SECTION = { name: 0x00, offset: 0x18, size: 0x20 };

/** Every key with its values, in the file's order. @throws RecipeError if it is no module */
export function moduleInfo(object: Buffer): ReadonlyMap<string, readonly string[]> {
  const info = new Map<string, string[]>();
  for (const text of modinfo(object).toString('latin1').split('\0')) {
    const at = text.indexOf('=');
    if (at < 0) continue; // padding between strings
    const key = text.slice(0, at);
    info.set(key, [...(info.get(key) ?? []), text.slice(at + 1)]);
  }
  return info;
}

function modinfo(object: Buffer): Buffer {
  try {
    return section(object, '.modinfo');
  } catch (cause) {
    // Offsets in a damaged file point outside it.
    if (cause instanceof RangeError) throw new RecipeError('damaged ELF module', { cause });
    throw cause;
  }
}

function section(object: Buffer, wanted: string): Buffer {
  if (object.length < 0x40 || object.readUInt32LE(0) !== ELF.magic)
    throw new RecipeError('not an ELF module');
  const table = Number(object.readBigUInt64LE(ELF.shoff));
  const entrySize = object.readUInt16LE(ELF.shentsize);
  const header = (index: number): Buffer =>
    object.subarray(table + index * entrySize, table + (index + 1) * entrySize);
  const body = (of: Buffer): Buffer => {
    const offset = Number(of.readBigUInt64LE(SECTION.offset));
    return object.subarray(offset, offset + Number(of.readBigUInt64LE(SECTION.size)));
  };
  const names = body(header(object.readUInt16LE(ELF.shstrndx)));
  for (let index = 0; index < object.readUInt16LE(ELF.shnum); index += 1) {
    const start = header(index).readUInt32LE(SECTION.name);
    if (names.toString('latin1', start, names.indexOf(0, start)) === wanted) return body(header(index));
  }
  throw new RecipeError(`not a kernel module: no ${wanted} section`);
}
