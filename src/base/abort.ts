/** A wait that an AbortSignal ends. */

/**
 * Settles as `promise` does, unless the signal is aborted first. What the promise stands for goes on.
 * @throws the signal's reason
 */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  signal.throwIfAborted();
  let onAbort!: () => void;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * The same values, until the signal is aborted; also when none comes.
 * @throws the signal's reason
 */
export async function* untilAborted<T>(
  values: AsyncIterable<T> | Iterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T> {
  const from = Symbol.asyncIterator in values ? values[Symbol.asyncIterator]() : values[Symbol.iterator]();
  try {
    for (;;) {
      const { done, value } = await orAborted(Promise.resolve(from.next()), signal);
      if (done) return;
      yield value;
    }
  } finally {
    const over = Promise.resolve(from.return?.());
    // One that nothing comes from does not end either.
    if (signal?.aborted) over.catch(() => {});
    else await over;
  }
}
