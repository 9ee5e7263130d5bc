import { describe, expect, it } from 'vitest';
import { type Locked, RangeLock } from '../../../src/base/range-lock.js';

describe('a range lock', () => {
  /** Takes a range and writes down when it was granted. */
  function setUp() {
    const lock = new RangeLock();
    const granted: string[] = [];
    const held = new Map<string, Locked>();
    const take = (name: string, start: number, end: number, exclusive = true): void =>
      lock.acquire(start, end, exclusive, (claim) => {
        granted.push(name);
        held.set(name, claim);
      });
    return { lock, granted, take, drop: (name: string) => held.get(name)!.release() };
  }

  it('grants ranges that do not overlap at once', () => {
    const { granted, take } = setUp();
    take('a', 0, 10);
    take('b', 10, 20);
    expect(granted).toEqual(['a', 'b']);
  });

  it('lets sharers in together and writers alone', () => {
    const { granted, take, drop } = setUp();
    take('r1', 0, 10, false);
    take('r2', 5, 15, false);
    take('w', 9, 10);
    expect(granted).toEqual(['r1', 'r2']);
    drop('r1');
    expect(granted).toEqual(['r1', 'r2']);
    drop('r2');
    expect(granted).toEqual(['r1', 'r2', 'w']);
  });

  it('does not let a newcomer overtake one that waits', () => {
    const { granted, take, drop } = setUp();
    take('r1', 0, 10, false);
    take('w', 0, 10);
    take('r2', 0, 10, false);
    expect(granted).toEqual(['r1']);
    drop('r1');
    expect(granted).toEqual(['r1', 'w']);
    drop('w');
    expect(granted).toEqual(['r1', 'w', 'r2']);
  });

  it('is released by work that throws or rejects', async () => {
    const lock = new RangeLock();
    expect(() =>
      lock.hold(0, 1, true, () => {
        throw new Error('sync');
      }),
    ).toThrow('sync');
    await expect(lock.hold(0, 1, true, () => Promise.reject(new Error('later')))).rejects.toThrow('later');
    let ran = false;
    expect(
      lock.hold(0, 1, true, () => {
        ran = true;
      }),
    ).toBeUndefined();
    expect(ran).toBe(true);
  });

  it('runs contended work one after the other', async () => {
    const lock = new RangeLock();
    let inside = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((resolve) => setImmediate(resolve));
      inside -= 1;
    };
    await Promise.all(Array.from({ length: 20 }, (_, index) => lock.hold(index, index + 100, true, work)));
    expect(most).toBe(1);
  });

  it('refuses to be released twice', () => {
    const { take, drop } = setUp();
    take('a', 0, 1);
    drop('a');
    expect(() => drop('a')).toThrow('twice');
  });
});
