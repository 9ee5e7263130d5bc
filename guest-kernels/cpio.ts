/**
 * A writer of cpio archives in the "new ASCII" format, the one Linux unpacks as its initramfs
 * (Linux Documentation/driver-api/early-userspace/buffer-format.rst). Everything that does not belong to the content is
 * fixed (owner 0, time 0, inode = position), so the same entries give the same bytes.
 * Runs on: main.
 */

/** One thing in an archive. `path` is relative to the archive's root, without a leading slash. */
export type CpioEntry =
  | { readonly type: 'directory'; readonly path: string; readonly mode?: number }
  | {
      readonly type: 'file';
      readonly path: string;
      readonly data: Uint8Array | string;
      readonly mode?: number;
    }
  | { readonly type: 'symlink'; readonly path: string; readonly target: string }
  | {
      readonly type: 'character-device' | 'block-device';
      readonly path: string;
      readonly major: number;
      readonly minor: number;
      readonly mode?: number;
    };

/** stat(2) file types and the permissions an entry has unless it says otherwise. */
const KINDS = {
  directory: { type: 0o040000, mode: 0o755 },
  file: { type: 0o100000, mode: 0o644 },
  symlink: { type: 0o120000, mode: 0o777 },
  'character-device': { type: 0o020000, mode: 0o600 },
  'block-device': { type: 0o060000, mode: 0o600 },
} as const;

const MAGIC = '070701';
const TRAILER = 'TRAILER!!!';
/** Linux skips entries with longer names or link targets (PATH_MAX, with the final NUL; init/initramfs.c). */
const NAME_LIMIT = 4096;
/** Sizes are eight hex digits. */
const SIZE_LIMIT = 2 ** 32;
/** Archives end on a whole block, so that they can be concatenated and every reader finds the end. */
const BLOCK = 512;

/**
 * An archive of `entries` in their order, with the directories they need but do not name put in front of them.
 * @throws RangeError for a path that is empty, absolute, too long, repeated, or holds a NUL, `.` or `..`; for a link target
 *   that is empty, too long or holds a NUL; and for a device number beyond 32 bits
 */
export function cpio(entries: Iterable<CpioEntry>): Buffer {
  const parts: Buffer[] = [];
  const seen = new Map<string, CpioEntry['type']>();
  let inode = 0;
  const add = (entry: CpioEntry): void => {
    seen.set(entry.path, entry.type);
    parts.push(...encode(entry, ++inode));
  };
  for (const entry of entries) {
    checkPath(entry.path);
    const names = entry.path.split('/');
    for (let depth = 1; depth < names.length; depth += 1) {
      const parent = names.slice(0, depth).join('/');
      if (!seen.has(parent)) add({ type: 'directory', path: parent });
      else if (seen.get(parent) !== 'directory') {
        throw new RangeError(`cpio: ${entry.path} lies below ${parent}, which is no directory`);
      }
    }
    if (seen.has(entry.path)) {
      if (entry.type === 'directory' && seen.get(entry.path) === 'directory' && entry.mode === undefined)
        continue;
      throw new RangeError(`cpio: ${entry.path} is there twice`);
    }
    add(entry);
  }
  parts.push(...record({ name: TRAILER, inode: 0, mode: 0, links: 1, device: [0, 0], data: EMPTY }));
  return pad(Buffer.concat(parts), BLOCK);
}

const EMPTY = Buffer.alloc(0);

function checkPath(path: string): void {
  const names = path.split('/');
  const bad = names.some((name) => name === '' || name === '.' || name === '..') || path.includes('\0');
  if (bad || path === TRAILER) throw new RangeError(`cpio: bad path ${JSON.stringify(path)}`);
  if (Buffer.byteLength(path) >= NAME_LIMIT) {
    throw new RangeError(`cpio: path of ${Buffer.byteLength(path)} bytes; the limit is ${NAME_LIMIT - 1}`);
  }
}

function encode(entry: CpioEntry, inode: number): Buffer[] {
  const kind = KINDS[entry.type];
  const permissions = 'mode' in entry && entry.mode !== undefined ? entry.mode & 0o7777 : kind.mode;
  let data: Buffer = EMPTY;
  if (entry.type === 'file') data = bytesOf(entry.data);
  if (entry.type === 'symlink') {
    data = bytesOf(entry.target);
    if (data.length === 0 || data.length >= NAME_LIMIT || data.includes(0)) {
      throw new RangeError(`cpio: bad target of the link ${entry.path}`);
    }
  }
  const device = 'major' in entry ? ([entry.major, entry.minor] as const) : ([0, 0] as const);
  if (device.some((number) => number !== number >>> 0)) {
    throw new RangeError(`cpio: bad device ${device.join(':')} of ${entry.path}`);
  }
  if (data.length >= SIZE_LIMIT) throw new RangeError(`cpio: ${entry.path} has ${data.length} bytes`);
  return record({
    name: entry.path,
    inode,
    mode: kind.type | permissions,
    links: entry.type === 'directory' ? 2 : 1,
    device,
    data,
  });
}

interface Record {
  readonly name: string;
  readonly inode: number;
  readonly mode: number;
  readonly links: number;
  readonly device: readonly [major: number, minor: number];
  readonly data: Buffer;
}

/** Header and name padded together to 4 bytes, then data padded to 4. */
function record({ name, inode, mode, links, device, data }: Record): Buffer[] {
  const nameBytes = Buffer.from(`${name}\0`);
  const owner = 0;
  const time = 0;
  const checksum = 0; // only in the "crc" flavour
  const file = [inode, mode, owner, owner, links, time, data.length];
  const fields = [...file, 0, 0, ...device, nameBytes.length, checksum];
  const header = MAGIC + fields.map((field) => field.toString(16).padStart(8, '0')).join('');
  return [pad(Buffer.concat([Buffer.from(header), nameBytes]), 4), pad(data, 4)];
}

function bytesOf(data: Uint8Array | string): Buffer {
  if (typeof data === 'string') return Buffer.from(data);
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

function pad(bytes: Buffer, multiple: number): Buffer {
  const missing = -bytes.length & (multiple - 1);
  return missing === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(missing)]);
}
