import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HaltWatch } from '../../../src/vm/halt-watch.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function setUp() {
  const guest = { progress: 0, dead: false, looks: 0, halted: 0 };
  const watch = new HaltWatch(
    {
      progress: () => guest.progress,
      async isHaltedForGood() {
        guest.looks += 1;
        guest.progress += 1; // looking kicks every vCPU, which they count as an exit
        return guest.dead;
      },
    },
    () => void (guest.halted += 1),
  );
  const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);
  return { guest, watch, pass };
}

describe('the halt watch', () => {
  it('notices a guest that is halted for good, once', async () => {
    const { guest, watch, pass } = setUp();
    watch.start();
    guest.dead = true;
    await pass(500);
    expect(guest.halted).toBe(0); // the first period only took the count
    await pass(500);
    expect(guest.halted).toBe(1);
    await pass(100_000);
    expect(guest).toMatchObject({ halted: 1, looks: 1 });
  });

  it('never looks while the guest does something', async () => {
    const { guest, watch, pass } = setUp();
    watch.start();
    for (let i = 0; i < 100; i += 1) {
      guest.progress += 1;
      await pass(500);
    }
    expect(guest.looks).toBe(0);
  });

  it('looks less and less often at a guest that idles, but never gives up', async () => {
    const { guest, watch, pass } = setUp();
    watch.start();
    await pass(500); // takes the count
    const times: number[] = [];
    let elapsed = 500;
    for (let looks = 0; elapsed < 200_000; elapsed += 500) {
      await pass(500);
      if (guest.looks > looks) times.push(elapsed + 500);
      looks = guest.looks;
    }
    const gaps = times.map((time, index) => time - (times[index - 1] ?? 500));
    expect(gaps.slice(0, 8)).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    expect(guest.halted).toBe(0);
    guest.dead = true;
    await pass(30_000);
    expect(guest.halted).toBe(1);
  });

  it('is quick again after the guest did something', async () => {
    const { guest, watch, pass } = setUp();
    watch.start();
    await pass(60_000);
    const before = guest.looks;
    guest.progress += 100;
    await pass(60_000); // at most 30 s until it notices, then looks after 0.5, 1, 2, 4 and 8 s
    expect(guest.looks - before).toBeGreaterThanOrEqual(5);
    guest.dead = true;
    await pass(30_000);
    expect(guest.halted).toBe(1);
  });

  it('says nothing after it was stopped, not even when it was just looking', async () => {
    const { guest, watch, pass } = setUp();
    watch.start();
    watch.stop();
    await pass(10_000);
    expect(guest.looks).toBe(0);

    let answer!: (dead: boolean) => void;
    let halted = 0;
    const slow = new HaltWatch(
      { progress: () => 0, isHaltedForGood: () => new Promise((resolve) => void (answer = resolve)) },
      () => void (halted += 1),
    );
    slow.start();
    await pass(1000);
    slow.stop();
    answer(true);
    await pass(10_000);
    expect(halted).toBe(0);
  });
});
