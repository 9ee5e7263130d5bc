/**
 * An embedder's disk behind checks: a mistake in it becomes an error that names the mistake, never a range beyond its
 * end, a size of NaN in the guest's registers or an exception out of an event loop.
 * Runs on: main.
 */
import { ConfigError, HostError } from '../base/errors.js';
import { lengthOf, type Pieces } from '../base/pieces.js';
import type { BlockBackend } from '../devices/blk/backend.js';
import { checkRange, type Done } from './pieces.js';

const SECTOR = 512;
const OPTIONAL = ['write', 'readv', 'writev', 'flush', 'discard', 'writeZeroes', 'close'] as const;

export class CheckedDisk implements BlockBackend {
  readonly readOnly: boolean;
  readonly blockSize: number;
  readonly write?: (offset: number, from: Uint8Array) => Promise<void> | void;
  readonly readv?: (offset: number, into: Pieces) => Promise<void> | void;
  readonly writev?: (offset: number, from: Pieces) => Promise<void> | void;
  readonly flush?: () => Promise<void> | void;
  readonly discard?: (offset: number, length: number) => Promise<void> | void;
  readonly writeZeroes?: (offset: number, length: number, mayUnmap: boolean) => Promise<void> | void;
  readonly close?: () => Promise<void> | void;
  readonly #disk: BlockBackend;
  #size: number;

  /**
   * @param path the option it came from, for messages
   * @throws ConfigError with everything that is wrong with its shape
   */
  constructor(disk: BlockBackend, path = 'disk') {
    const problems = problemsOf(disk);
    if (problems.length > 0) throw new ConfigError(problems.map((message) => ({ path, message })));
    this.#disk = disk;
    this.#size = roundDown(disk.size)!;
    this.readOnly = disk.readOnly === true || !disk.write;
    this.blockSize = disk.blockSize ?? SECTOR;
    // Only what the disk has: the device offers the guest what it finds.
    if (disk.write) this.write = (at, from) => this.#ranged(at, from.length, () => disk.write!(at, from));
    if (disk.readv) this.readv = (at, into) => this.#ranged(at, lengthOf(into), () => disk.readv!(at, into));
    if (disk.writev)
      this.writev = (at, from) => this.#ranged(at, lengthOf(from), () => disk.writev!(at, from));
    if (disk.flush) this.flush = () => guarded(() => disk.flush!());
    if (disk.discard)
      this.discard = (at, length) => this.#ranged(at, length, () => disk.discard!(at, length));
    if (disk.writeZeroes) {
      this.writeZeroes = (at, length, unmap) =>
        this.#ranged(at, length, () => disk.writeZeroes!(at, length, unmap));
    }
    if (disk.close) this.close = () => guarded(() => disk.close!());
  }

  /** A size that makes no sense leaves the last that did. */
  get size(): number {
    this.#size = roundDown(this.#disk.size) ?? this.#size;
    return this.#size;
  }

  read(offset: number, into: Uint8Array): Done {
    return this.#ranged(offset, into.length, () => this.#disk.read(offset, into), true);
  }

  #ranged(offset: number, length: number, call: () => unknown, isRead = false): Done {
    return guarded(() => {
      checkRange(this.size, offset, length);
      return length === 0 ? undefined : call();
    }, isRead);
  }
}

/** Bytes, a multiple of 512; undefined when that is no size of a disk. */
const roundDown = (size: unknown): number | undefined =>
  typeof size === 'number' && Number.isSafeInteger(size) && size >= SECTOR
    ? size - (size % SECTOR)
    : undefined;

function problemsOf(disk: BlockBackend): string[] {
  const problems: string[] = [];
  const fields = disk as unknown as Record<string, unknown>;
  if (roundDown(disk.size) === undefined) {
    problems.push(`size must be a whole number of bytes, ${SECTOR} at least, not ${String(disk.size)}`);
  }
  if (typeof fields['read'] !== 'function') problems.push('read must be a function');
  for (const name of OPTIONAL) {
    if (fields[name] !== undefined && typeof fields[name] !== 'function')
      problems.push(`${name} must be a function`);
  }
  const { blockSize } = disk;
  if (blockSize !== undefined && !(blockSize >= SECTOR && Number.isInteger(Math.log2(blockSize)))) {
    problems.push(`blockSize must be a power of two, ${SECTOR} at least, not ${String(blockSize)}`);
  }
  if (disk.writev && !disk.write) problems.push('writev needs write beside it');
  return problems;
}

/** Whatever the disk does: nothing when it is done, or a promise, never an exception. */
function guarded(call: () => unknown, isRead = false): Done {
  try {
    const result = call();
    if (isThenable(result)) {
      return Promise.resolve(result).then(
        (value) => checkResult(value, isRead),
        (error: unknown) => Promise.reject(asError(error)),
      );
    }
    checkResult(result, isRead);
    return undefined;
  } catch (error) {
    return Promise.reject(asError(error));
  }
}

/** The mistake everybody makes once: the bytes returned instead of filled in. Other values are nobody's business. */
function checkResult(value: unknown, isRead: boolean): void {
  if (isRead && (ArrayBuffer.isView(value) || value instanceof ArrayBuffer || typeof value === 'string')) {
    throw new TypeError('read() returned bytes; it must put them into the array it was given');
  }
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function';

const asError = (error: unknown): Error =>
  error instanceof Error
    ? error
    : new HostError(`the disk failed: ${String(error)}`, undefined, undefined, undefined, { cause: error });
