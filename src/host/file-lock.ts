/**
 * Locks that keep two machines off one image, in QEMU's terms, so that its processes and ours exclude each other both ways:
 * byte 100 + n says "I do n", byte 200 + n "nobody else may do n" (QEMU block/file-posix.c, raw_apply_lock_bytes). All of
 * them are shared locks. Whoever opens a file takes its own first and then looks for those that contradict; of two who
 * do that at once one or both give up, never none.
 *
 * They are locks of the open file, not of the process (fcntl(2), "Open file description locks"): so they work between two
 * VMs of one process, and end with the descriptor, however that ends. After a kill that is when the kernel has ended the
 * I/O that was in flight, a little after the process: hence the patience.
 * Runs on: main.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HostError } from '../base/errors.js';
import { errnoName, errnoNumber, tryFcntl } from './libc.js';

/** <linux/fcntl.h>, struct flock of a 64-bit system. */
export const FLOCK = { size: 32, l_type: 0, l_whence: 2, l_start: 8, l_len: 16 } as const;
export const LOCK = { F_OFD_GETLK: 36, F_OFD_SETLK: 37, F_RDLCK: 0, F_WRLCK: 1, F_UNLCK: 2 } as const;

/** What one does with a file: bits of QEMU's BLK_PERM_* (include/block/block-common.h). */
const READ = 0;
const WRITE = 1;
const RESIZE = 3;
const DOES = 100;
const BARS = 200;

interface Role {
  readonly does: readonly number[];
  readonly bars: readonly number[];
}
const READER: Role = { does: [READ], bars: [WRITE, RESIZE] };
/** A reader beside it would see a disk that never was, though QEMU's own tools let each other do that. */
const WRITER: Role = { does: [READ, WRITE, RESIZE], bars: [READ, WRITE, RESIZE] };

const RETRY_MS = 10;

/**
 * @param exclusive true for a writer; readers share
 * @param patienceMs how long to wait for somebody else's lock, ms
 * @throws HostError EAGAIN when another open file holds a lock that excludes this one
 */
export async function lockFile(
  fd: number,
  path: string,
  exclusive: boolean,
  patienceMs: number,
): Promise<void> {
  const role = exclusive ? WRITER : READER;
  for (const started = performance.now(); !tryLock(fd, path, role); ) {
    if (performance.now() - started >= patienceMs) {
      throw new HostError(`${path} is in use by another VM`, 'fcntl', errnoNumber('EAGAIN'), 'EAGAIN', {
        code: 'ERR_FILE',
        hint: exclusive
          ? 'two machines may share it only if both open it read-only'
          : 'its user writes to it',
      });
    }
    // Not in step with another who tries.
    await sleep(RETRY_MS * (0.5 + Math.random()));
  }
}

/** @returns false, and holds nothing, when somebody has a lock against this one */
function tryLock(fd: number, path: string, { does, bars }: Role): boolean {
  const mine = [...does.map((bit) => DOES + bit), ...bars.map((bit) => BARS + bit)];
  const theirs = [...does.map((bit) => BARS + bit), ...bars.map((bit) => DOES + bit)];
  if (mine.every((at) => take(fd, path, at)) && !theirs.some((at) => isTaken(fd, path, at))) return true;
  call(fd, path, LOCK.F_OFD_SETLK, LOCK.F_UNLCK, DOES, BARS - DOES + RESIZE + 1);
  return false;
}

/** False when somebody locked the byte exclusively, who is no QEMU. */
function take(fd: number, path: string, at: number): boolean {
  return call(fd, path, LOCK.F_OFD_SETLK, LOCK.F_RDLCK, at, 1) !== undefined;
}

/** Whether any other open file has any lock there. */
function isTaken(fd: number, path: string, at: number): boolean {
  return call(fd, path, LOCK.F_OFD_GETLK, LOCK.F_WRLCK, at, 1) !== LOCK.F_UNLCK;
}

/** @returns the type of lock that the kernel answers with; undefined when somebody else's is in the way */
function call(
  fd: number,
  path: string,
  command: number,
  type: number,
  start: number,
  length: number,
): number | undefined {
  const lock = new DataView(new ArrayBuffer(FLOCK.size));
  lock.setInt16(FLOCK.l_type, type, true);
  lock.setBigInt64(FLOCK.l_start, BigInt(start), true);
  lock.setBigInt64(FLOCK.l_len, BigInt(length), true);
  const result = tryFcntl(fd, command, new Uint8Array(lock.buffer));
  if (result >= 0) return lock.getInt16(FLOCK.l_type, true);
  if (-result === errnoNumber('EAGAIN') || -result === errnoNumber('EACCES')) return undefined;
  const name = errnoName(-result);
  throw new HostError(`cannot lock ${path}: ${name}`, 'fcntl', -result, name, { code: 'ERR_FILE' });
}
