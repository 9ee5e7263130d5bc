/**
 * File I/O past the page cache (O_DIRECT) for buffers and ranges of any alignment. What is aligned goes to the engine as
 * it is. The rest goes through an aligned buffer, at most BOUNCE bytes a step; a write that covers a block in part
 * reads the block first, and a lock on the range keeps other writes out meanwhile.
 * Runs on: main.
 */
import { lengthOf } from '../base/pieces.js';
import { type Locked, RangeLock } from '../base/range-lock.js';
import { alignDown, alignUp, KiB, PAGE_SIZE } from '../base/units.js';
import { addon } from './addon.js';
import type { Done, FileIo } from './file-io.js';
import { errnoNumber, tryStatx } from './libc.js';

export interface Alignment {
  /** Of buffer addresses, bytes. */
  readonly memory: number;
  /** Of file offsets and lengths, bytes. */
  readonly offset: number;
}

/** <linux/stat.h>; the two fields came with Linux 6.1. */
export const STATX = {
  size: 256,
  stx_mask: 0x00,
  stx_dio_mem_align: 0x98,
  stx_dio_offset_align: 0x9c,
  STATX_DIOALIGN: 0x2000,
} as const;

const BOUNCE = 256 * KiB;

/** Whole blocks around the start of a request. */
interface Window {
  /** Their file offset. */
  readonly start: number;
  readonly bytes: Uint8Array;
  /** How many bytes of the request lie in them. */
  readonly wanted: number;
}

/**
 * What O_DIRECT wants of this file: the kernel's word, else found by trying.
 * @param readAt a read through the descriptor, for the trial: bytes, or a negative errno
 */
export async function directAlignment(
  fd: number,
  readAt: (into: Uint8Array, offset: number) => Promise<number>,
): Promise<Alignment> {
  const statx = new DataView(new ArrayBuffer(STATX.size));
  const failed = tryStatx(fd, STATX.STATX_DIOALIGN, new Uint8Array(statx.buffer)) < 0;
  if (!failed && (statx.getUint32(STATX.stx_mask, true) & STATX.STATX_DIOALIGN) !== 0) {
    const memory = statx.getUint32(STATX.stx_dio_mem_align, true);
    const offset = statx.getUint32(STATX.stx_dio_offset_align, true);
    if (memory > 0 && offset > 0) return { memory, offset };
  }
  const trial = await readAt(aligned(512, PAGE_SIZE), 512);
  const unit = trial === -errnoNumber('EINVAL') ? PAGE_SIZE : 512;
  return { memory: unit, offset: unit };
}

export class DirectIo implements FileIo {
  readonly name;
  /** Held by writes: shared by those that cover whole blocks. */
  readonly #lock = new RangeLock();

  constructor(
    private readonly io: FileIo,
    private readonly alignment: Alignment,
  ) {
    this.name = io.name;
  }

  readv(fd: number, offset: number, into: readonly Uint8Array[], done: Done): void {
    if (this.#fits(offset, into)) {
      this.io.readv(fd, offset, into, done);
      return;
    }
    const window = this.#window(offset, into);
    const before = offset - window.start;
    this.io.readv(fd, window.start, [window.bytes], (result) => {
      if (result > 0) scatter(window.bytes.subarray(before), into, within(window, before, result));
      done(result < 0 ? result : within(window, before, result));
    });
  }

  writev(fd: number, offset: number, from: readonly Uint8Array[], done: Done): void {
    if (this.#fits(offset, from)) {
      this.#lock.acquire(offset, offset + lengthOf(from), false, (lock) =>
        this.io.writev(fd, offset, from, releasing(lock, done)),
      );
      return;
    }
    const window = this.#window(offset, from);
    const before = offset - window.start;
    const whole = before === 0 && window.wanted === window.bytes.length;
    this.#lock.acquire(window.start, window.start + window.bytes.length, !whole, (lock) => {
      const finish = releasing(lock, done);
      const write = (): void => {
        gather(from, window.bytes.subarray(before), window.wanted);
        this.io.writev(fd, window.start, [window.bytes], (result) =>
          finish(result < 0 ? result : within(window, before, result)),
        );
      };
      if (whole) write();
      // What lies beyond the end of the file reads short and stays zero.
      else
        this.io.readv(fd, window.start, [window.bytes], (result) => (result < 0 ? finish(result) : write()));
    });
  }

  sync(fd: number, done: Done): void {
    this.io.sync(fd, done);
  }

  fallocate(fd: number, mode: number, offset: number, length: number, done: Done): void {
    const { offset: unit } = this.alignment;
    // A block read before and written after would bring back what is being punched out of it.
    this.#lock.acquire(alignDown(offset, unit), alignUp(offset + length, unit), false, (lock) =>
      this.io.fallocate(fd, mode, offset, length, releasing(lock, done)),
    );
  }

  close(): Promise<void> {
    return this.io.close();
  }

  #fits(offset: number, pieces: readonly Uint8Array[]): boolean {
    const { memory, offset: unit } = this.alignment;
    if (offset % unit !== 0) return false;
    for (const piece of pieces) {
      if (piece.length % unit !== 0 || addon.addressOf(piece) % memory !== 0) return false;
    }
    return true;
  }

  /** The blocks around the start of a request, and how much of the request they hold. */
  #window(
    offset: number,
    pieces: readonly Uint8Array[],
  ): { start: number; bytes: Uint8Array; wanted: number } {
    const { memory, offset: unit } = this.alignment;
    const start = alignDown(offset, unit);
    const end = Math.min(alignUp(offset + lengthOf(pieces), unit), start + BOUNCE);
    return {
      start,
      bytes: aligned(end - start, memory),
      wanted: Math.min(lengthOf(pieces), end - offset),
    };
  }
}

/** Bytes of the request, which starts `before` bytes into the window, among the window's first `result` bytes. */
const within = ({ wanted }: Window, before: number, result: number): number =>
  Math.max(0, Math.min(result - before, wanted));

/** Zeroed memory at a multiple of `alignment`. */
function aligned(length: number, alignment: number): Uint8Array {
  const bytes = new Uint8Array(length + alignment);
  const over = addon.addressOf(bytes) % alignment;
  return bytes.subarray(over === 0 ? 0 : alignment - over).subarray(0, length);
}

const releasing =
  (lock: Locked, done: Done): Done =>
  (result) => {
    lock.release();
    done(result);
  };

function scatter(from: Uint8Array, into: readonly Uint8Array[], length: number): void {
  let at = 0;
  for (const piece of into) {
    if (at >= length) return;
    piece.set(from.subarray(at, Math.min(at + piece.length, length)));
    at += piece.length;
  }
}

function gather(from: readonly Uint8Array[], into: Uint8Array, length: number): void {
  let at = 0;
  for (const piece of from) {
    if (at >= length) return;
    into.set(piece.subarray(0, length - at), at);
    at += piece.length;
  }
}
