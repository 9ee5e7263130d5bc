/**
 * Reads of what the host's page cache holds, done before the call returns: one system call and a copy cost a tenth of a promise's
 * way through a ring or a thread pool. RWF_NOWAIT starts no I/O and waits for nothing (preadv2(2)): what is not in memory as a whole
 * is left to the engine.
 * Runs on: main.
 */
import { KiB } from '../base/units.js';
import { Iovecs, MAX_PIECES } from './iovecs.js';
import { errnoNumber, tryPreadv2 } from './libc.js';

const RWF_NOWAIT = 0x8; // <linux/fs.h>
/** Bytes of one read at most: copying more is a kernel thread's work. */
const MOST = 64 * KiB;
/** Reads and bytes until the event loop has had a turn, some 100 µs: who reads without end would never let it. */
const READS_A_TURN = 32;
const BYTES_A_TURN = 512 * KiB;
/** Reads at most that are not tried after some that were not in memory. */
const MOST_SKIPPED = 64;

const EAGAIN = -errnoNumber('EAGAIN');
const EINTR = -errnoNumber('EINTR');

export class CachedReads {
  readonly #iovecs = new Iovecs();
  /** False where the file system or the kernel does not know the flag. */
  #able = true;
  #reads = 0;
  #bytes = 0;
  #turnAsked = false;
  /** Reads not to be tried, and how many it was the last time. */
  #skip = 0;
  #skipped = 0;

  /** @param length of all pieces, bytes @returns whether the pieces are filled; false says nothing but that they may not be */
  read(fd: number, offset: number, pieces: readonly Uint8Array[], length: number): boolean {
    if (!this.#able || length >= MOST || pieces.length > MAX_PIECES || !this.#mayTry(length)) return false;
    const result = tryPreadv2(fd, this.#iovecs.address, this.#iovecs.set(pieces), offset, RWF_NOWAIT);
    if (result === length) {
      this.#skipped = 0;
      return true;
    }
    if (result >= 0 || result === EAGAIN || result === EINTR) this.#missed();
    else this.#able = false;
    return false;
  }

  #mayTry(length: number): boolean {
    if (this.#skip > 0) {
      this.#skip -= 1;
      return false;
    }
    if (this.#turnAsked) return false;
    this.#reads += 1;
    this.#bytes += length;
    if (this.#reads >= READS_A_TURN || this.#bytes >= BYTES_A_TURN) this.#askForTurn();
    return true;
  }

  /** Misses in a row make attempts rare: a cold file, or one larger than memory. */
  #missed(): void {
    this.#skipped = this.#skip = Math.min(2 * this.#skipped + 1, MOST_SKIPPED);
  }

  /** Only now that the allowance is used up: a turn asked for after every read would cost more than the read. */
  #askForTurn(): void {
    this.#turnAsked = true;
    setImmediate(() => {
      this.#turnAsked = false;
      this.#reads = this.#bytes = 0;
    });
  }
}
