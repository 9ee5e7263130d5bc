/**
 * Reads archives in cpio's "new ASCII" format, strictly and on its own terms: the other half that the writer is tested against
 * (Linux Documentation/driver-api/early-userspace/buffer-format.rst).
 */

export interface ReadEntry {
  readonly path: string;
  readonly inode: number;
  readonly mode: number;
  readonly owner: number;
  readonly links: number;
  readonly time: number;
  readonly major: number;
  readonly minor: number;
  readonly data: Buffer;
}

const HEADER = 110;

/** All entries of all archives in `bytes`. @throws Error on anything that the format does not allow */
export function readCpio(bytes: Buffer): ReadEntry[] {
  const entries: ReadEntry[] = [];
  let at = 0;
  let open = false;
  while (at < bytes.length) {
    if (!open && bytes[at] === 0) {
      at += 1; // padding between archives
      continue;
    }
    open = true;
    const header = bytes.toString('latin1', at, at + HEADER);
    if (!/^070701[0-9a-f]{104}$/.test(header)) throw new Error(`no header at ${at}: ${header}`);
    const field = (index: number): number => Number.parseInt(header.slice(6 + 8 * index, 14 + 8 * index), 16);
    const nameEnd = at + HEADER + field(11);
    const name = bytes.toString('utf8', at + HEADER, nameEnd);
    if (!name.endsWith('\0') || name.indexOf('\0') !== name.length - 1) throw new Error(`bad name at ${at}`);
    const start = aligned(bytes, nameEnd);
    const end = start + field(6);
    if (end > bytes.length) throw new Error(`data beyond the end at ${at}`);
    at = aligned(bytes, end);
    const path = name.slice(0, -1);
    if (path === 'TRAILER!!!') {
      open = false;
      continue;
    }
    const [inode, mode, owner, , links, time] = [0, 1, 2, 3, 4, 5].map(field) as number[];
    const data = bytes.subarray(start, end);
    entries.push({
      path,
      inode: inode!,
      mode: mode!,
      owner: owner!,
      links: links!,
      time: time!,
      major: field(9),
      minor: field(10),
      data,
    });
  }
  if (open) throw new Error('the archive has no trailer');
  return entries;
}

/** The next multiple of 4; what is skipped must be zero. */
function aligned(bytes: Buffer, at: number): number {
  const next = Math.ceil(at / 4) * 4;
  if (bytes.subarray(at, next).some((byte) => byte !== 0)) throw new Error(`padding at ${at} is not zero`);
  return next;
}
