/**
 * File I/O through io_uring: two rings in memory shared with the kernel, one system call for all that a callback of the
 * event loop asked for (or for the next eight), completions by an eventfd.
 *
 * With IORING_SETUP_DEFER_TASKRUN the kernel posts completions only inside our io_uring_enter, and the ring's own
 * descriptor does not become readable before that: hence the eventfd. It stays silent while we are inside
 * (IORING_CQ_EVENTFD_DISABLED), or every read that the page cache answers at once would ring it as well.
 *
 * The rule: an operation's buffers, and the array that lists them, stay referenced in `#lent` until its completion
 * was reaped. The kernel holds their addresses.
 *
 * Memory order (io_uring(7)): completions are read before the head that gives them back, so heads are stored, and the
 * kernel's tail loaded, with Atomics; submissions: io-uring-entries.ts.
 * Runs on: the thread that opened it, and no other (IORING_SETUP_SINGLE_ISSUER).
 */
import { KiB } from '../base/units.js';
import type { Done, FileIo } from './file-io.js';
import { FLAGS, io_uring_cqe, OP } from './io-uring-abi.js';
import { IOVECS, MAX_PIECES, SubmissionEntries } from './io-uring-entries.js';
import { openRings, type Ring, type Rings } from './io-uring-setup.js';
import { errnoNumber } from './libc.js';
import { type Poll, pollEventfd } from './poll.js';

/** Operations in the kernel at once; more wait their turn here. A power of two. */
export const DEPTH = 128;
/** So many entries are submitted without waiting for the end of the turn: the disk is idle until the first arrives. */
const SUBMIT_AT = 8;
/** So many times in a row, what was placed goes out behind the callback that did it; then the event loop has a turn first. */
const MAX_IN_A_ROW = 8;
/** Through the page cache, a read of so many bytes is a copy that would hold up the event loop: a kernel thread's work. */
const OFFLOAD = 64 * KiB;

const CQE_WORDS = io_uring_cqe.size / 4;
const EINTR = -errnoNumber('EINTR');
const EAGAIN = -errnoNumber('EAGAIN');
const EBUSY = -errnoNumber('EBUSY');

export class IoUring implements FileIo {
  readonly name = 'io_uring';
  readonly #rings: Rings;
  readonly #cq: Ring;
  readonly #entries: SubmissionEntries;
  readonly #poll: Poll;
  /** By slot, which is the operation's user_data: whom to tell, and the buffers lent to the kernel. */
  readonly #done: (Done | undefined)[] = Array.from({ length: DEPTH });
  readonly #lent: (readonly Uint8Array[] | undefined)[] = Array.from({ length: DEPTH });
  readonly #free: number[] = Array.from({ length: DEPTH }, (_, slot) => DEPTH - 1 - slot);
  /** What starts operations that found no slot. */
  readonly #waiting: ((slot: number) => void)[] = [];
  #unfinished = 0;
  #scheduled = false;
  /** Submissions since the event loop had a turn, as far as is known. */
  #inARow = 0;
  #onIdle: (() => void) | undefined;

  /**
   * @param cached whether the files are read and written through the page cache
   * @throws HostError ENOSYS or EPERM where io_uring is missing or barred (sysctl, seccomp, an old kernel)
   */
  constructor(private readonly cached: boolean) {
    this.#rings = openRings(DEPTH, IOVECS);
    this.#cq = this.#rings.cq;
    this.#entries = new SubmissionEntries(this.#rings);
    this.#poll = pollEventfd(this.#rings.bell, () => {
      this.#inARow = 0;
      this.#enter();
    });
    // An idle ring does not keep the process alive.
    this.#poll.unref();
  }

  readv(fd: number, offset: number, into: readonly Uint8Array[], done: Done): void {
    const slot = this.#claim();
    if (slot >= 0) this.#move(slot, OP.IORING_OP_READ, OP.IORING_OP_READV, fd, offset, into, done);
    else
      this.#later((free) => this.#move(free, OP.IORING_OP_READ, OP.IORING_OP_READV, fd, offset, into, done));
  }

  writev(fd: number, offset: number, from: readonly Uint8Array[], done: Done): void {
    const slot = this.#claim();
    if (slot >= 0) this.#move(slot, OP.IORING_OP_WRITE, OP.IORING_OP_WRITEV, fd, offset, from, done);
    else
      this.#later((free) =>
        this.#move(free, OP.IORING_OP_WRITE, OP.IORING_OP_WRITEV, fd, offset, from, done),
      );
  }

  sync(fd: number, done: Done): void {
    this.#control(done, (slot) =>
      this.#place(slot, OP.IORING_OP_FSYNC, fd, 0, 0, 0, FLAGS.IORING_FSYNC_DATASYNC),
    );
  }

  fallocate(fd: number, mode: number, offset: number, length: number, done: Done): void {
    // The length goes where others have an address (io_uring_enter(2), IORING_OP_FALLOCATE).
    this.#control(done, (slot) => this.#place(slot, OP.IORING_OP_FALLOCATE, fd, offset, length, mode, 0));
  }

  async close(): Promise<void> {
    // At least a microtask later: the caller may be a completion's callback, with the rings in use.
    do await (this.#unfinished > 0 ? this.#idle() : undefined);
    while (this.#unfinished > 0);
    this.#poll.close();
    this.#rings[Symbol.dispose]();
  }

  readonly #onTurnEnd = (): void => {
    this.#scheduled = false;
    // Done already, with entries that the eventfd's turn took along; the ring may even be closed.
    if (this.#unfinished > 0) this.#enter();
  };

  #idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  /** Counts an operation in. @returns a slot for it, or -1 when it must wait for one */
  #claim(): number {
    if (this.#unfinished === 0) this.#poll.ref();
    this.#unfinished += 1;
    return this.#free.pop() ?? -1;
  }

  #later(start: (slot: number) => void): void {
    this.#waiting.push(start);
  }

  /** An operation without buffers. */
  #control(done: Done, place: (slot: number) => void): void {
    const start = (slot: number): void => {
      this.#done[slot] = done;
      place(slot);
    };
    const slot = this.#claim();
    if (slot >= 0) start(slot);
    else this.#later(start);
  }

  /** A read or write, of one piece or of a list. */
  #move(
    slot: number,
    single: number,
    vectored: number,
    fd: number,
    offset: number,
    pieces: readonly Uint8Array[],
    done: Done,
  ): void {
    this.#done[slot] = done;
    this.#lent[slot] = pieces;
    const count = pieces.length === 1 ? 1 : this.#roomFor(pieces.length);
    const entries = this.#entries;
    const flags = this.cached && isAtLeast(pieces, OFFLOAD) ? FLAGS.IOSQE_ASYNC << 8 : 0;
    if (count === 1) {
      this.#place(slot, single | flags, fd, offset, entries.addressOf(pieces[0]!), pieces[0]!.length, 0);
    } else {
      this.#place(slot, vectored | flags, fd, offset, entries.list(pieces, count), count, 0);
    }
  }

  /** Writes the entry; the kernel sees it behind this callback of the event loop, or with the next few. */
  #place(
    slot: number,
    head: number,
    fd: number,
    offset: number,
    address: number,
    length: number,
    flags: number,
  ): void {
    this.#entries.place(slot, head, fd, offset, address, length, flags);
    if (this.#entries.waiting >= SUBMIT_AT) {
      this.#submit(0);
    } else if (!this.#scheduled) {
      this.#scheduled = true;
      this.#schedule();
    }
  }

  /**
   * Behind the callback at hand and all promises it settled: an immediate would cost a request alone a round of the event loop.
   * What the page cache answers is done then and there, so that who awaits one read after the other would keep it for ever.
   */
  #schedule(): void {
    this.#inARow += 1;
    if (this.#inARow <= MAX_IN_A_ROW) process.nextTick(this.#onTurnEnd);
    else {
      this.#inARow = 0;
      setImmediate(this.#onTurnEnd);
    }
  }

  /** How many of an operation's pieces can be listed; the rest is a short result. One needs no list. */
  #roomFor(count: number): number {
    const wanted = Math.min(count, MAX_PIECES);
    if (!this.#entries.hasRoomFor(wanted)) this.#submit(0);
    return this.#entries.hasRoomFor(wanted) ? wanted : 1;
  }

  #enter(): void {
    if (!this.#rings.deferred) {
      this.#submit(FLAGS.IORING_ENTER_GETEVENTS);
      this.#reap();
      return;
    }
    const { flags } = this.#cq;
    Atomics.store(flags, 0, FLAGS.IORING_CQ_EVENTFD_DISABLED);
    // GETEVENTS makes the kernel post what is complete; it waits for nothing.
    this.#submit(FLAGS.IORING_ENTER_GETEVENTS);
    this.#reap();
    Atomics.store(flags, 0, 0);
    // What completed while the eventfd was off is announced here. Two flags, each side sets its own before it reads the
    // other's: one of the two sees the completion.
    if ((Atomics.load(this.#rings.sq.flags, 0) & FLAGS.IORING_SQ_TASKRUN) !== 0) this.#again();
  }

  #submit(flags: number): void {
    const result = this.#entries.submit(flags);
    if (result === undefined) return;
    if (result >= 0 || result === EINTR || result === EAGAIN || result === EBUSY) this.#again();
    else this.#refuse(result);
  }

  /** Once more in the next turn: the kernel took only a part of the entries, or has completions again. */
  #again(): void {
    setImmediate(() => {
      if (this.#unfinished > 0) this.#enter();
    });
  }

  /** What the kernel will not even take fails with the kernel's word. */
  #refuse(result: number): void {
    const slots = this.#entries.takeBack();
    // Not from inside the call that started them.
    setImmediate(() => {
      for (const slot of slots) this.#finish(slot, result);
    });
  }

  #reap(): void {
    const { head, tail, mask } = this.#cq;
    const { cqes } = this.#rings;
    // A callback may come here again: the head is stored before each.
    for (let at = head[0]!; at !== Atomics.load(tail, 0); at = head[0]!) {
      const cqe = (at & mask) * CQE_WORDS;
      const slot = cqes[cqe]!;
      const result = cqes[cqe + io_uring_cqe.res / 4]!;
      Atomics.store(head, 0, at + 1);
      this.#finish(slot, result);
    }
  }

  #finish(slot: number, result: number): void {
    const done = this.#done[slot]!;
    this.#done[slot] = this.#lent[slot] = undefined;
    const next = this.#waiting.shift();
    if (next) next(slot);
    else this.#free.push(slot);
    this.#unfinished -= 1;
    if (this.#unfinished === 0) this.#poll.unref();
    done(result);
    if (this.#unfinished === 0) this.#onIdle?.();
  }
}

function isAtLeast(pieces: readonly Uint8Array[], length: number): boolean {
  let left = length;
  for (const piece of pieces) {
    left -= piece.length;
    if (left <= 0) return true;
  }
  return false;
}
