/**
 * The waiting that an image needs: one at a time (Serial), until every request that was in flight has ended (Generations),
 * and for all of a request's parts even when one fails (Parts).
 * Runs on: main.
 */

/** Runs asynchronous work one after the other, in the order of the calls. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => {}); // its caller gets the error; the next in line only waits for the end
    return result;
  }

  /** Settles when everything queued so far has ended. */
  async idle(): Promise<void> {
    await this.#last;
  }
}

interface Generation {
  inFlight: number;
  ended: (() => void) | undefined;
}

/**
 * Requests that may still use a host cluster which the map no longer names. `enter` and `leave` cost two additions, which
 * is why requests hold no locks on what they read or overwrite in place.
 */
export class Generations {
  #current: Generation = { inFlight: 0, ended: undefined };
  readonly #serial = new Serial();

  /** @returns what to call, once, at the request's end */
  enter(): () => void {
    const generation = this.#current;
    generation.inFlight += 1;
    return () => {
      generation.inFlight -= 1;
      if (generation.inFlight === 0) generation.ended?.();
    };
  }

  /** Settles when every request that has entered by now has left. Later requests are not waited for. */
  passed(): Promise<void> {
    const generation = this.#current;
    this.#current = { inFlight: 0, ended: undefined };
    return this.#serial.run(async () => {
      if (generation.inFlight === 0) return;
      await new Promise<void>((resolve) => {
        generation.ended = resolve;
      });
    });
  }
}

/**
 * The parts of one request. It ends when all of them have, failed or not: buffers are lent until then, and no part may write
 * into them later. An error is caught the moment it comes, even while the request is still busy starting parts.
 */
export class Parts {
  #pending: Promise<void>[] = [];
  #failed = false;
  #error: unknown;

  /** Parts that may still run. */
  get count(): number {
    return this.#pending.length;
  }

  add(part: void | Promise<void>): void {
    if (!part) return;
    const caught = part.catch((error: unknown) => {
      if (!this.#failed) this.#error = error;
      this.#failed = true;
    });
    this.#pending.push(caught);
  }

  /** @throws the first error of any part so far */
  async settle(): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    await Promise.all(pending);
    if (this.#failed) throw this.#error;
  }
}

/** Waits for all of them, then throws the first error. */
export async function settleAll(parts: readonly (void | Promise<void>)[]): Promise<void> {
  const all = new Parts();
  for (const part of parts) all.add(part);
  await all.settle();
}

/** Lets other events run: for loops whose length the guest chooses. */
export const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
