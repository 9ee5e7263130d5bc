/**
 * Opening a disk's file with words for what can be wrong with it, and its size whatever kind of file it is.
 * Runs on: main; the system calls on libuv's pool.
 */
import { constants, open as fsOpen, type Stats, stat } from 'node:fs';
import { promisify } from 'node:util';
import { HostError } from '../base/errors.js';
import { ioctlBuffer } from './libc.js';

/** <linux/fs.h> _IOR(0x12, 114, size_t): a block device's bytes. */
export const BLKGETSIZE64 = 0x8008_1272;

/** @returns a descriptor; ours alone to close. @throws HostError ERR_FILE */
export async function openChecked(
  path: string,
  readOnly: boolean,
  direct: boolean,
  create: boolean | 'new',
): Promise<number> {
  try {
    // Before opening: to open a pipe would wait for its other end.
    const stats = await promisify(stat)(path).catch((error: NodeJS.ErrnoException) => {
      if (create && error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (stats && !stats.isFile() && !stats.isBlockDevice()) {
      const what = stats.isDirectory() ? 'is a directory' : 'is neither a file nor a block device';
      throw new HostError(`${path}: ${what}`, 'open', undefined, undefined, { code: 'ERR_FILE' });
    }
    const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_DIRECT } = constants;
    const making = create === false ? 0 : create === 'new' ? O_CREAT | O_EXCL : O_CREAT;
    const flags = (readOnly ? O_RDONLY : O_RDWR) | making | (direct ? O_DIRECT : 0);
    return await promisify(fsOpen)(path, flags, 0o666);
  } catch (error) {
    if (error instanceof HostError) throw error;
    throw openError(path, error as NodeJS.ErrnoException, readOnly, direct);
  }
}

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  ENOTDIR: 'no such file',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ETXTBSY: 'is a program that runs',
  EEXIST: 'exists already',
};

function openError(
  path: string,
  error: NodeJS.ErrnoException,
  readOnly: boolean,
  direct: boolean,
): HostError {
  const { code = '', errno = 0 } = error;
  const noDirect = direct && code === 'EINVAL';
  const problem = noDirect ? 'its file system has no direct I/O' : (PROBLEMS[code] ?? code);
  const unwritable = !readOnly && ['EACCES', 'EPERM', 'EROFS', 'ETXTBSY'].includes(code);
  return new HostError(`${path}: ${problem}`, 'open', -errno, code, {
    code: 'ERR_FILE',
    hint: noDirect ? 'use the page cache' : unwritable ? 'open it read-only' : undefined,
    cause: error,
  });
}

/** Bytes. For a block device fstat() has none. */
export function sizeOf(fd: number, stats: Stats): number {
  if (!stats.isBlockDevice()) return stats.size;
  const bytes = new Uint8Array(8);
  ioctlBuffer('BLKGETSIZE64', fd, BLKGETSIZE64, bytes);
  return Number(new DataView(bytes.buffer).getBigUint64(0, true));
}
