/**
 * The submission side of an io_uring as memory: entries, the lists of buffers that they point to, and the tail that shows
 * them to the kernel. io-uring.ts decides what goes in and when it is submitted.
 *
 * Memory order (io_uring(7)): entries are written before the tail that publishes them, so the tail is stored, and the
 * kernel's head loaded, with Atomics.
 * Runs on: the thread that set the rings up, and no other (IORING_SETUP_SINGLE_ISSUER).
 */
import type { Pieces } from '../base/pieces.js';
import { addon } from './addon.js';
import { io_uring_sqe, iovec } from './io-uring-abi.js';
import type { Rings } from './io-uring-setup.js';
import { ioUringEnter } from './libc.js';

/** Pieces of one operation at most (UIO_MAXIOV, <linux/uio.h>); the rest is a short result. */
export const MAX_PIECES = 1024;
/** Pieces of all operations of one submission. */
export const IOVECS = 2 * MAX_PIECES;

const SQE_WORDS = io_uring_sqe.size / 4;
const IOVEC_WORDS = iovec.size / 4;

export class SubmissionEntries {
  #tail = 0;
  #iovecsUsed = 0;
  #lastBuffer: ArrayBufferLike | undefined;
  #lastAddress = 0;

  constructor(private readonly rings: Rings) {}

  /** Entries that the kernel has not taken, as far as this thread has seen. */
  get waiting(): number {
    return (this.#tail - this.rings.sq.head[0]!) >>> 0;
  }

  /**
   * Writes an entry; `submit` shows it to the kernel. There is room: as many entries as slots, and each slot is in use once.
   * @param head the entry's first word: its opcode, and its IOSQE flags from bit 8 on
   */
  place(
    slot: number,
    head: number,
    fd: number,
    offset: number,
    address: number,
    length: number,
    flags: number,
  ): void {
    // The words that are not written here are never anything but zero.
    const { sqes, sq } = this.rings;
    const at = (this.#tail & sq.mask) * SQE_WORDS;
    sqes[at] = head;
    sqes[at + io_uring_sqe.fd / 4] = fd;
    sqes[at + io_uring_sqe.off / 4] = offset; // typed arrays keep the low 32 bits
    sqes[at + io_uring_sqe.off / 4 + 1] = offset / 2 ** 32;
    sqes[at + io_uring_sqe.addr / 4] = address;
    sqes[at + io_uring_sqe.addr / 4 + 1] = address / 2 ** 32;
    sqes[at + io_uring_sqe.len / 4] = length;
    sqes[at + io_uring_sqe.rw_flags / 4] = flags;
    sqes[at + io_uring_sqe.user_data / 4] = slot;
    this.#tail = (this.#tail + 1) >>> 0;
  }

  /** Whether so many pieces of an operation can be listed before the next submission. */
  hasRoomFor(count: number): boolean {
    return this.#iovecsUsed + count <= IOVECS;
  }

  /** Copies addresses and lengths of the first `count` pieces to where the kernel finds them. @returns the list's address */
  list(pieces: Pieces, count: number): number {
    const { iovecs, iovecsAt } = this.rings;
    const first = this.#iovecsUsed;
    this.#iovecsUsed += count;
    for (let index = 0; index < count; index += 1) {
      const piece = pieces[index]!;
      const address = this.addressOf(piece);
      const at = (first + index) * IOVEC_WORDS;
      iovecs[at] = address;
      iovecs[at + 1] = address / 2 ** 32;
      iovecs[at + iovec.iov_len / 4] = piece.length;
      iovecs[at + iovec.iov_len / 4 + 1] = 0;
    }
    return iovecsAt + iovec.size * first;
  }

  /** Asking the addon costs ten times more than this, and guest memory is few ArrayBuffers. */
  addressOf(bytes: Uint8Array): number {
    if (bytes.buffer !== this.#lastBuffer) {
      this.#lastAddress = addon.addressOf(bytes) - bytes.byteOffset;
      this.#lastBuffer = bytes.buffer;
    }
    return this.#lastAddress + bytes.byteOffset;
  }

  /**
   * Shows the kernel all entries and enters it; it has read the lists of those it took when this returns
   * (IORING_FEAT_SUBMIT_STABLE).
   * @param flags of io_uring_enter
   * @returns undefined when it took all, else what it said: how many, or a negative errno
   */
  submit(flags: number): number | undefined {
    const { head, tail } = this.rings.sq;
    Atomics.store(tail, 0, this.#tail);
    const count = (this.#tail - Atomics.load(head, 0)) >>> 0;
    const result = ioUringEnter(this.rings.fd, count, 0, flags);
    if (Atomics.load(head, 0) !== this.#tail) return result;
    this.#iovecsUsed = 0;
    return undefined;
  }

  /** Takes back what the kernel did not take. @returns the slots */
  takeBack(): number[] {
    const { head, tail, mask } = this.rings.sq;
    const first = Atomics.load(head, 0);
    const slots: number[] = [];
    for (let index = first; index !== this.#tail; index = (index + 1) >>> 0) {
      slots.push(this.rings.sqes[(index & mask) * SQE_WORDS + io_uring_sqe.user_data / 4]!);
    }
    this.#tail = first;
    Atomics.store(tail, 0, first);
    this.#iovecsUsed = 0;
    return slots;
  }
}
