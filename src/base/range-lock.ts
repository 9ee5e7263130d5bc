/**
 * Locks on byte ranges, for read-modify-write next to other requests. First come, first served: a request waits for every
 * earlier one that it overlaps and that excludes it, granted or not, so nobody starves. Without contention the
 * work starts inside the call.
 *
 * The number of requests is small (a disk's requests in flight), so a list is searched from end to end.
 */
export interface Locked {
  /** The lock's range ends here. Once only. */
  release(): void;
}

interface Claim {
  readonly start: number;
  readonly end: number;
  readonly exclusive: boolean;
  /** Undefined once granted. */
  waiting: (() => void) | undefined;
}

export class RangeLock {
  /** In order of arrival. */
  readonly #claims: Claim[] = [];
  #waiting = 0;

  /**
   * Calls `granted` when [start, end) is free: at once, or from inside the release that frees it.
   * @param exclusive false shares the range with others that share it
   */
  acquire(start: number, end: number, exclusive: boolean, granted: (lock: Locked) => void): void {
    const claim: Claim = { start, end, exclusive, waiting: undefined };
    const lock: Locked = { release: () => this.#release(claim) };
    const free = !this.#blocked(claim, this.#claims.length);
    this.#claims.push(claim);
    if (free) {
      granted(lock);
    } else {
      claim.waiting = () => granted(lock);
      this.#waiting += 1;
    }
  }

  /** Holds the range for as long as `work` takes. Without contention and waiting, all of it happens inside the call. */
  hold(
    start: number,
    end: number,
    exclusive: boolean,
    work: () => void | Promise<void>,
  ): void | Promise<void> {
    let lock: Locked | undefined;
    let wake: ((lock: Locked) => void) | undefined;
    this.acquire(start, end, exclusive, (granted) => {
      if (wake) wake(granted);
      else lock = granted;
    });
    if (lock) return workUnder(lock, work);
    return new Promise<Locked>((resolve) => {
      wake = resolve;
    }).then((granted) => workUnder(granted, work));
  }

  /** Whether one of the first `count` claims keeps this one out. */
  #blocked(claim: Claim, count: number): boolean {
    for (let index = 0; index < count; index += 1) {
      const other = this.#claims[index]!;
      if (other.start < claim.end && claim.start < other.end && (other.exclusive || claim.exclusive))
        return true;
    }
    return false;
  }

  #release(claim: Claim): void {
    const at = this.#claims.indexOf(claim);
    if (at < 0) throw new Error('range lock released twice');
    this.#claims.splice(at, 1);
    if (this.#waiting === 0) return;
    const granted: (() => void)[] = [];
    for (const [index, next] of this.#claims.entries()) {
      if (!next.waiting || this.#blocked(next, index)) continue;
      granted.push(next.waiting);
      next.waiting = undefined;
      this.#waiting -= 1;
    }
    // Only now: what they do may come back here.
    for (const start of granted) start();
  }
}

function workUnder(lock: Locked, work: () => void | Promise<void>): void | Promise<void> {
  let pending: void | Promise<void>;
  try {
    pending = work();
  } catch (error) {
    lock.release();
    throw error;
  }
  if (pending) return pending.finally(() => lock.release());
  lock.release();
  return undefined;
}
