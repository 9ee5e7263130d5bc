/**
 * A disk in a file or on a block device. Holes stay holes: discarded ranges give their storage back.
 *
 * The file stays locked while the disk is open: against every writer, or for a read-only disk against all writers.
 * That the file is removed meanwhile does not matter; that somebody cuts it short makes reads there fail with EIO.
 * Runs on: the thread that opened it.
 */
import { HostError } from '../base/errors.js';
import { lengthOf, type Pieces } from '../base/pieces.js';
import { alignDown, PAGE_SIZE } from '../base/units.js';
import type { BlockBackend } from '../devices/blk/backend.js';
import { AsyncFile, type AsyncFileOptions } from '../host/async-file.js';
import { checkRange } from './pieces.js';
import { writeZeroesBy } from './zeroes.js';

const SECTOR = 512;

/** How a file is opened as a disk. */
export interface FileDiskOptions extends AsyncFileOptions {
  /** Grows a smaller file to this many bytes, sparse. With `create`, the size of a new one. */
  readonly minimumSize?: number;
  /** Told of what its user should know: a size that had to be rounded, io_uring that is barred. */
  readonly onNotice?: ((message: string) => void) | undefined;
}

/** A disk in a file or on a block device; locked while it is open. */
export class FileDisk implements BlockBackend, AsyncDisposable {
  readonly readOnly: boolean;
  readonly blockSize: number;
  #size: number;
  /** Until the file system says that it cannot. */
  #punches = true;
  #zeroes = true;

  private constructor(
    private readonly file: AsyncFile,
    /** Sizes are rounded down to a multiple of this, bytes. */
    private readonly unit: number,
  ) {
    this.readOnly = file.readOnly;
    this.blockSize = Math.max(PAGE_SIZE, file.alignment.offset);
    this.#size = alignDown(file.size, unit);
  }

  /** @throws HostError ERR_FILE naming the path: missing, a directory, not readable or writable, in use, too small */
  static async open(path: string, options: FileDiskOptions = {}): Promise<FileDisk> {
    const { onNotice, minimumSize = 0, ...rest } = options;
    const file = await AsyncFile.open(path, rest);
    if (file.size < minimumSize) {
      await file.truncate(minimumSize).catch(async (error: unknown) => {
        await file.close();
        throw error;
      });
    }
    // A block that the file holds in part only could not be written without growing the file.
    const disk = new FileDisk(file, Math.max(SECTOR, file.alignment.offset));
    if (disk.size === 0) {
      await file.close();
      throw new HostError(
        `${path}: holds not one sector of ${disk.unit} bytes`,
        'open',
        undefined,
        undefined,
        {
          code: 'ERR_FILE',
        },
      );
    }
    const over = file.size - disk.size;
    if (over > 0)
      onNotice?.(`${path}: its last ${over} bytes are left out, a disk is a multiple of ${disk.unit}`);
    return disk;
  }

  get size(): number {
    return this.#size;
  }

  /** As it was given to `open`. */
  get path(): string {
    return this.file.path;
  }

  /** How the file is reached: `io_uring`, or `pool` where the host bars that. */
  get engine(): string {
    return this.file.engine;
  }

  /** Looks at the file's size again after somebody resized it; then tell the device. @returns bytes */
  async measure(): Promise<number> {
    this.#size = alignDown(await this.file.measure(), this.unit);
    return this.#size;
  }

  /** Makes the file longer, sparse, or cuts it; then tell the device. @param size bytes, rounded down to whole sectors */
  async resize(size: number): Promise<void> {
    await this.file.truncate(alignDown(size, this.unit));
    this.#size = alignDown(this.file.size, this.unit);
  }

  /** Done when it returns nothing: what the host has in memory. */
  read(offset: number, into: Uint8Array): void | Promise<void> {
    return this.readv(offset, [into]);
  }

  readv(offset: number, into: Pieces): void | Promise<void> {
    checkRange(this.#size, offset, lengthOf(into));
    return this.file.readNow(offset, into) ? undefined : this.file.readv(offset, into);
  }

  write(offset: number, from: Uint8Array): Promise<void> {
    checkRange(this.#size, offset, from.length);
    return this.file.write(offset, from);
  }

  writev(offset: number, from: Pieces): Promise<void> {
    checkRange(this.#size, offset, lengthOf(from));
    return this.file.writev(offset, from);
  }

  flush(): Promise<void> {
    return this.file.sync();
  }

  async discard(offset: number, length: number): Promise<void> {
    checkRange(this.#size, offset, length);
    if (length > 0) await this.#punch(offset, length);
  }

  async writeZeroes(offset: number, length: number, mayUnmap: boolean): Promise<void> {
    checkRange(this.#size, offset, length);
    if (length === 0) return;
    if (mayUnmap && (await this.#punch(offset, length))) return;
    if (this.#zeroes && (await supported(this.file.zero(offset, length)))) return;
    this.#zeroes = false;
    await writeZeroesBy((at, pieces) => this.file.writev(at, pieces), offset, length);
  }

  close(): Promise<void> {
    return this.file.close();
  }

  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @returns false when this file system has no holes */
  async #punch(offset: number, length: number): Promise<boolean> {
    if (!this.#punches) return false;
    this.#punches = await supported(this.file.punch(offset, length));
    return this.#punches;
  }
}

/** False instead of the error that says the file system has no such call. */
const supported = (work: Promise<void>): Promise<boolean> =>
  work.then(
    () => true,
    (error: unknown) => {
      if (error instanceof HostError && ['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS'].includes(error.errnoName ?? ''))
        return false;
      throw error;
    },
  );
