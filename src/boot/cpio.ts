/**
 * An initramfs of a few files, to be put behind another: Linux unpacks one archive after the other, each from a multiple of 4 bytes on
 * (Linux Documentation/driver-api/early-userspace/buffer-format.rst, "newc").
 */
const HEADER = 110;

export interface InitramfsFile {
  /** Without a leading slash. */
  readonly path: string;
  /** With the type: 0o100755, 0o040755. */
  readonly mode: number;
  readonly data?: Uint8Array;
}

export const alignArchive = (size: number): number => Math.ceil(size / 4) * 4;

/** @param files folders before what is in them */
export function initramfs(files: readonly InitramfsFile[]): Uint8Array {
  const entries = [...files, { path: 'TRAILER!!!', mode: 0 }].map((file, index) => encode(file, index + 1));
  const bytes = new Uint8Array(entries.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const entry of entries) {
    bytes.set(entry, at);
    at += entry.length;
  }
  return bytes;
}

function encode({ path, mode, data = new Uint8Array() }: InitramfsFile, ino: number): Uint8Array {
  const name = new TextEncoder().encode(`${path}\0`);
  // ino, mode, uid, gid, nlink, mtime, filesize, two device numbers of two parts, namesize, check
  const fields = [ino, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  const start = alignArchive(HEADER + name.length);
  const bytes = new Uint8Array(alignArchive(start + data.length));
  bytes.set(new TextEncoder().encode(header));
  bytes.set(name, HEADER);
  bytes.set(data, start);
  return bytes;
}
