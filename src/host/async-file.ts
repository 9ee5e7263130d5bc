/**
 * A file or block device for a disk's back end: reads and writes at offsets, whole or not at all, through io_uring
 * where the host has it and the thread pool where not.
 *
 * Buffers are lent until the promise settles. Requests run side by side and in no order; `sync` covers the writes that
 * had completed before it was called.
 * Runs on: the thread that opened it.
 */
import { close as fsClose, fstat, ftruncate } from 'node:fs';
import { promisify } from 'node:util';
import { HostError } from '../base/errors.js';
import { lengthOf } from '../base/pieces.js';
import { CachedReads } from './cached-reads.js';
import { type Alignment, DirectIo, directAlignment } from './direct-io.js';
import type { FileIo } from './file-io.js';
import { lockFile } from './file-lock.js';
import { IoUring } from './io-uring.js';
import { FALLOC_FL } from './io-uring-abi.js';
import { errnoName, errnoNumber } from './libc.js';
import { openChecked, sizeOf } from './open-file.js';
import { PoolIo } from './pool-io.js';

export interface AsyncFileOptions {
  /** Opens without the right to write, and shares the lock with other readers. */
  readonly readOnly?: boolean;
  /** Bypasses the host's page cache (O_DIRECT). Any alignment still works; aligned is faster. */
  readonly direct?: boolean;
  /** Makes an empty file where there is none; `new` refuses one that is there. */
  readonly create?: boolean | 'new';
  /** False: does not keep others from writing. */
  readonly lock?: boolean;
  /** How long to wait for somebody else's lock, ms; 500 unless said: a monitor that was killed holds its for a moment. */
  readonly patienceMs?: number;
  /** `auto`: io_uring, or the thread pool where the host bars it. */
  readonly engine?: 'auto' | 'io_uring' | 'pool';
}

const EINTR = -errnoNumber('EINTR');
const EIO = errnoNumber('EIO');

export class AsyncFile implements AsyncDisposable {
  #size: number;
  #closed: Promise<void> | undefined;
  /** Through the page cache only. */
  readonly #cached: CachedReads | undefined;

  private constructor(
    readonly path: string,
    readonly readOnly: boolean,
    readonly direct: boolean,
    /** What direct I/O wants; 1 and 1 through the page cache. */
    readonly alignment: Alignment,
    readonly isBlockDevice: boolean,
    size: number,
    private readonly fd: number,
    private readonly io: FileIo,
  ) {
    this.#size = size;
    this.#cached = direct ? undefined : new CachedReads();
  }

  /** @throws HostError ERR_FILE naming the path and what is wrong: missing, a directory, no permission, in use */
  static async open(path: string, options: AsyncFileOptions = {}): Promise<AsyncFile> {
    const { readOnly = false, direct = false, create = false, lock = true, engine = 'auto' } = options;
    const { patienceMs = 500 } = options;
    const fd = await openChecked(path, readOnly, direct, create);
    let io: FileIo | undefined;
    try {
      if (lock) await lockFile(fd, path, !readOnly, patienceMs);
      const stats = await promisify(fstat)(fd);
      const size = sizeOf(fd, stats);
      io = openEngine(engine, !direct);
      const raw = io;
      const readAt = (into: Uint8Array, offset: number): Promise<number> =>
        new Promise((resolve) => raw.readv(fd, offset, [into], resolve));
      const alignment = direct ? await directAlignment(fd, readAt) : { memory: 1, offset: 1 };
      if (direct) io = new DirectIo(io, alignment);
      return new AsyncFile(path, readOnly, direct, alignment, stats.isBlockDevice(), size, fd, io);
    } catch (error) {
      await io?.close();
      await promisify(fsClose)(fd);
      throw error;
    }
  }

  /** Bytes, as of `open`, `truncate` or `measure`. */
  get size(): number {
    return this.#size;
  }

  get engine(): FileIo['name'] {
    return this.io.name;
  }

  /** Asks the host for the size again: somebody may have resized the file. */
  async measure(): Promise<number> {
    this.#check();
    this.#size = sizeOf(this.fd, await promisify(fstat)(this.fd));
    return this.#size;
  }

  /** Fills the pieces if that takes no waiting. @returns false when it does: then `readv` them */
  readNow(offset: number, into: readonly Uint8Array[]): boolean {
    if (!this.#cached || this.#closed) return false;
    const length = lengthOf(into);
    return length > 0 && this.#cached.read(this.fd, offset, into, length);
  }

  /** @throws HostError EIO when the file ends inside the range */
  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#transfer('read', offset, [into]);
  }

  write(offset: number, from: Uint8Array): Promise<void> {
    return this.#transfer('write', offset, [from]);
  }

  readv(offset: number, into: readonly Uint8Array[]): Promise<void> {
    return this.#transfer('read', offset, into);
  }

  writev(offset: number, from: readonly Uint8Array[]): Promise<void> {
    return this.#transfer('write', offset, from);
  }

  /** Completed writes are durable (fdatasync). After an error what was written since the last sync may be lost. */
  sync(): Promise<void> {
    return this.#call('fdatasync', (done) => this.io.sync(this.fd, done));
  }

  /** Reserves storage, so that writing there cannot fail for want of space; grows the file if needed. */
  async allocate(offset: number, length: number): Promise<void> {
    await this.#fallocate(0, offset, length);
    if (!this.isBlockDevice) this.#size = Math.max(this.#size, offset + length);
  }

  /** The range reads as zeroes and its storage is given back. @throws HostError EOPNOTSUPP where that is unknown */
  punch(offset: number, length: number): Promise<void> {
    const { FALLOC_FL_PUNCH_HOLE, FALLOC_FL_KEEP_SIZE } = FALLOC_FL;
    return this.#fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
  }

  /** The range reads as zeroes and its storage stays. @throws HostError EOPNOTSUPP where that is unknown */
  zero(offset: number, length: number): Promise<void> {
    const { FALLOC_FL_ZERO_RANGE, FALLOC_FL_KEEP_SIZE } = FALLOC_FL;
    return this.#fallocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
  }

  async truncate(size: number): Promise<void> {
    this.#check();
    try {
      await promisify(ftruncate)(this.fd, size);
    } catch (error) {
      throw fileError('truncate', this.path, -((error as NodeJS.ErrnoException).errno ?? 0));
    }
    this.#size = size;
  }

  /** Waits for requests in flight; gives up the lock. */
  close(): Promise<void> {
    this.#closed ??= this.io.close().then(() => promisify(fsClose)(this.fd));
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #check(): void {
    if (this.#closed) throw new HostError(`${this.path} is closed`, undefined, errnoNumber('EBADF'), 'EBADF');
  }

  #fallocate(mode: number, offset: number, length: number): Promise<void> {
    return this.#call('fallocate', (done) => this.io.fallocate(this.fd, mode, offset, length, done));
  }

  #call(what: string, start: (done: (result: number) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#check();
      const attempt = (): void =>
        start((result) => {
          if (result === EINTR) attempt();
          else if (result < 0) reject(fileError(what, this.path, -result));
          else resolve();
        });
      attempt();
    });
  }

  #transfer(what: 'read' | 'write', offset: number, pieces: readonly Uint8Array[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#check();
      // An empty piece at the front would make a result of 0 look like the end of the file.
      let left = pieces.length === 1 ? pieces : pieces.filter((piece) => piece.length > 0);
      let at = offset;
      let length = lengthOf(left);
      const step = (): void => {
        if (what === 'read') this.io.readv(this.fd, at, left, done);
        else this.io.writev(this.fd, at, left, done);
      };
      const done = (result: number): void => {
        if (result === length) {
          resolve();
        } else if (result === 0) {
          reject(this.#ended(what, at));
        } else if (result < 0 && result !== EINTR) {
          reject(fileError(what, this.path, -result));
        } else {
          const moved = Math.max(0, result);
          left = after(left, moved);
          at += moved;
          length -= moved;
          step();
        }
      };
      if (length === 0) resolve();
      else step();
    });
  }

  #ended(what: string, offset: number): HostError {
    return new HostError(`${what} ${this.path}: the file ends at ${offset}`, what, EIO, 'EIO');
  }
}

/** What remains of the pieces once `count` bytes of them are done. */
function after(pieces: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let skip = count;
  const first = pieces.findIndex((piece) => {
    if (skip < piece.length) return true;
    skip -= piece.length;
    return false;
  });
  return [pieces[first]!.subarray(skip), ...pieces.slice(first + 1)];
}

function openEngine(engine: 'auto' | 'io_uring' | 'pool', cached: boolean): FileIo {
  if (engine === 'pool') return new PoolIo();
  try {
    return new IoUring(cached);
  } catch (error) {
    // ENOSYS: not in this kernel. EPERM: a seccomp filter or kernel.io_uring_disabled. ENOMEM: RLIMIT_MEMLOCK before 5.12.
    const barred =
      error instanceof HostError && ['ENOSYS', 'EPERM', 'EACCES', 'ENOMEM'].includes(error.errnoName ?? '');
    if (engine === 'auto' && barred) return new PoolIo();
    throw error;
  }
}

function fileError(what: string, path: string, errno: number): HostError {
  const name = errnoName(errno);
  return new HostError(`${what} ${path}: ${name}`, what, errno, name);
}
