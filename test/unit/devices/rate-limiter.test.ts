/** Token buckets as Firecracker's: what goes ahead, what waits, and for how long. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type RateLimit, RateLimiter } from '../../../src/devices/rate-limiter.js';

/** A limiter and its clock. */
function limited(limit: RateLimit): {
  take: (bytes: number) => number;
  sleep: (ms: number) => void;
  limiter: RateLimiter;
} {
  let now = 1000;
  const limiter = new RateLimiter(limit, () => now);
  const sleep = (ms: number): void => {
    now += ms;
  };
  return { take: (bytes) => limiter.take(bytes), sleep, limiter };
}

describe('a bandwidth bucket', () => {
  it('starts full, and empties', () => {
    const { take } = limited({ bandwidth: { size: 1000, refillMs: 100 } });
    expect([take(600), take(400), take(1)]).toEqual([0, 0, 1]);
  });

  it('refills evenly, to its size and no further', () => {
    const { take, sleep } = limited({ bandwidth: { size: 1000, refillMs: 100 } });
    take(1000);
    sleep(50);
    expect(take(501)).toBe(1);
    expect(take(500)).toBe(0);
    sleep(1_000_000);
    expect(take(1000)).toBe(0);
    expect(take(10)).toBe(1);
  });

  it('says how long to wait, and after that there are enough', () => {
    const { take, sleep } = limited({ bandwidth: { size: 1000, refillMs: 100 } });
    take(1000);
    expect(take(250)).toBe(25);
    sleep(24);
    expect(take(250)).toBe(1);
    sleep(1);
    expect(take(250)).toBe(0);
  });

  it('loses nothing to attempts that had to wait', () => {
    const { take, sleep } = limited({ bandwidth: { size: 1000, refillMs: 100 } });
    take(1000);
    for (let ms = 0; ms < 30; ms += 1) {
      take(1000);
      sleep(1);
    }
    expect(take(300)).toBe(0);
  });

  it('keeps its rate over many odd steps', () => {
    const { take, sleep } = limited({ bandwidth: { size: 777, refillMs: 333 } });
    let taken = 0;
    let ms = 0;
    for (let step = 0; step < 10_000; step += 1) {
      const wait = take(13);
      if (wait > 0) {
        sleep(wait);
        ms += wait;
      } else taken += 13;
    }
    const allowed = 777 + (ms * 777) / 333;
    expect(taken).toBeLessThanOrEqual(allowed + 1e-6);
    expect(taken).toBeGreaterThan(0.95 * allowed);
  });

  it('lets a request of no bytes through whenever it is not paying off another', () => {
    const { take } = limited({ bandwidth: { size: 1000, refillMs: 100 } });
    take(1000);
    expect(take(0)).toBe(0);
  });
});

describe('a request larger than its bucket', () => {
  it('goes ahead at once and is paid off afterwards', () => {
    const { take, sleep } = limited({ bandwidth: { size: 1000, refillMs: 100 } });
    expect(take(3000)).toBe(0);
    expect([take(1), take(5000)]).toEqual([200, 200]);
    sleep(199);
    expect(take(0)).toBe(1);
    sleep(1);
    expect(take(0)).toBe(0);
  });

  it('goes ahead even when the bucket is not full: what it took counts', () => {
    const { take } = limited({ bandwidth: { size: 1000, refillMs: 100 } });
    take(600);
    expect(take(1400)).toBe(0);
    expect(take(1)).toBe(100);
  });

  it('takes the burst first', () => {
    const { take } = limited({ bandwidth: { size: 1000, refillMs: 100, oneTimeBurst: 2000 } });
    expect(take(3500)).toBe(0);
    expect(take(1)).toBe(50);
  });
});

describe('the one-time burst', () => {
  it('is used before the bucket, and once', () => {
    const { take, sleep } = limited({ bandwidth: { size: 1000, refillMs: 100, oneTimeBurst: 500 } });
    expect([take(500), take(1000), take(1)]).toEqual([0, 0, 1]);
    sleep(10_000);
    expect([take(1000), take(1)]).toEqual([0, 1]);
  });

  it('and the bucket together serve one request', () => {
    const { take } = limited({ bandwidth: { size: 1000, refillMs: 100, oneTimeBurst: 500 } });
    expect([take(1500), take(1)]).toEqual([0, 1]);
  });

  it('is not lost to an attempt that had to wait', () => {
    const { take, sleep } = limited({ bandwidth: { size: 1000, refillMs: 100, oneTimeBurst: 500 } });
    take(500 + 900);
    expect(take(200)).toBe(10);
    sleep(10);
    expect(take(200)).toBe(0);
  });
});

describe('an operations bucket', () => {
  it('counts requests, whatever their bytes', () => {
    const { take, sleep } = limited({ ops: { size: 2, refillMs: 100 } });
    expect([take(0), take(2 ** 30), take(0)]).toEqual([0, 0, 50]);
    sleep(50);
    expect([take(1), take(1)]).toEqual([0, 50]);
  });

  it('and one for bandwidth both have to allow a request, and neither pays for one that waits', () => {
    const { take, sleep } = limited({
      bandwidth: { size: 1000, refillMs: 100 },
      ops: { size: 2, refillMs: 100 },
    });
    expect(take(1000)).toBe(0);
    expect(take(500)).toBe(50);
    sleep(50);
    expect(take(500)).toBe(0);
    // 0.5 + 0.5 operations were left and came back; the bytes are used up.
    expect(take(0)).toBe(0);
    expect(take(0)).toBe(50);
  });
});

describe('limits', () => {
  it('may be none', () => {
    const { take, limiter } = limited({});
    expect([limiter.active, take(2 ** 40), take(2 ** 40)]).toEqual([false, 0, 0]);
  });

  it('may be changed: buckets start full again', () => {
    const { take, limiter } = limited({ bandwidth: { size: 1000, refillMs: 100 } });
    take(1000);
    limiter.update({ ops: { size: 1, refillMs: 10 } });
    expect([limiter.active, take(10_000), take(0)]).toEqual([true, 0, 10]);
    limiter.update({});
    expect([limiter.active, take(0)]).toEqual([false, 0]);
  });
});

describe('waiting', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const slow: RateLimit = { ops: { size: 1, refillMs: 1e12 } };

  it('ends in time, once', () => {
    const { limiter } = limited(slow);
    const ask = vi.fn();
    limiter.later(50, ask);
    vi.advanceTimersByTime(49);
    expect(ask).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    limiter.update({});
    expect(ask).toHaveBeenCalledTimes(1);
  });

  it('ends at once when there are new limits', () => {
    const { limiter } = limited(slow);
    const ask = vi.fn(() => limiter.take(1));
    limiter.later(1e12, ask);
    limiter.update(slow);
    expect(ask.mock.results).toEqual([{ type: 'return', value: 0 }]);
    vi.runAllTimers();
    expect(ask).toHaveBeenCalledTimes(1);
  });

  it('is taken back', () => {
    const { limiter } = limited(slow);
    const ask = vi.fn();
    limiter.later(50, ask)();
    limiter.update({});
    vi.runAllTimers();
    expect(ask).not.toHaveBeenCalled();
  });

  it('is no shorter for being longer than timers can be', () => {
    const { limiter } = limited(slow);
    const ask = vi.fn();
    limiter.later(1e12, ask);
    vi.advanceTimersByTime(1e9);
    expect(ask).not.toHaveBeenCalled();
  });
});
