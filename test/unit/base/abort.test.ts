import { describe, expect, it } from 'vitest';
import { orAborted, untilAborted } from '../../../src/base/abort.js';

const never = new Promise<never>(() => {});

describe('a wait that may be aborted', () => {
  it('is the wait itself without an abort', async () => {
    expect(await orAborted(Promise.resolve(7), undefined)).toBe(7);
    expect(await orAborted(Promise.resolve(7), new AbortController().signal)).toBe(7);
    await expect(orAborted(Promise.reject(new Error('no')), new AbortController().signal)).rejects.toThrow(
      'no',
    );
  });

  it('ends with the reason', async () => {
    await expect(orAborted(never, AbortSignal.abort(new Error('before')))).rejects.toThrow('before');
    const abort = new AbortController();
    const waiting = orAborted(never, abort.signal);
    abort.abort(new Error('after'));
    await expect(waiting).rejects.toThrow('after');
  });
});

describe('values until an abort', () => {
  async function collect(values: AsyncIterable<number> | Iterable<number>, signal?: AbortSignal) {
    const got: number[] = [];
    for await (const value of untilAborted(values, signal)) got.push(value);
    return got;
  }

  it('are all of them without one, from either kind of source', async () => {
    expect(await collect([1, 2])).toEqual([1, 2]);
    const two = async function* () {
      yield 1;
      yield 2;
    };
    expect(await collect(two(), new AbortController().signal)).toEqual([1, 2]);
  });

  it('end with it while none comes, and the source is told to end', async () => {
    let ended = false;
    const source: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: () => never,
        async return() {
          ended = true;
          return { done: true, value: undefined };
        },
      }),
    };
    const abort = new AbortController();
    const waiting = collect(source, abort.signal);
    abort.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    expect(ended).toBe(true);
  });

  it('that are not taken to the end end their source', async () => {
    let ended = false;
    const source = async function* () {
      try {
        for (;;) yield 1;
      } finally {
        ended = true;
      }
    };
    for await (const _ of untilAborted(source(), undefined)) break;
    expect(ended).toBe(true);
  });
});
