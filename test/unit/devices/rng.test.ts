/** The entropy device: fills what it is given, within its bounds. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { RateLimit } from '../../../src/devices/rate-limiter.js';
import { RngDevice } from '../../../src/devices/rng/device.js';
import { EVENT_IDX, INDIRECT_DESC, REG, VERSION_1 } from '../../support/fake-driver.js';
import { plug, turn } from '../../support/plug.js';

/** A device whose entropy is a count of its calls, and the lengths it was asked for. */
function started(limit?: RateLimit) {
  const asked: number[] = [];
  const fill = (buffer: Uint8Array): void => {
    asked.push(buffer.length);
    buffer.fill(asked.length);
  };
  const plugged = plug(new RngDevice('rng', { fill }, limit));
  plugged.driver.start();
  return { ...plugged, asked, queue: plugged.driver.queue() };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, value) => total + value, 0);

afterEach(() => {
  vi.useRealTimers();
});

describe('the entropy device', () => {
  it('is device 4 with one queue, no features of its own and no configuration', () => {
    const { driver } = started();
    expect(driver.read(REG.DeviceID)).toBe(4);
    expect(driver.offered).toBe(INDIRECT_DESC | EVENT_IDX | VERSION_1);
    void driver.write(REG.QueueSel, 1);
    expect([driver.read(REG.QueueNumMax), driver.config(0)]).toEqual([0, 0]);
  });

  it('fills every writable piece, and says how much', () => {
    const { queue, irq } = started();
    const posted = queue.post([10, 20, 2]);
    expect(queue.collect()).toMatchObject([{ head: posted.head, length: 32 }]);
    expect([...posted.written()]).toEqual([...Array(10).fill(1), ...Array(20).fill(2), 3, 3]);
    expect(irq.count).toBe(1);
  });

  it('writes into no readable piece', () => {
    const { queue, ram, asked } = started();
    const posted = queue.post([Uint8Array.of(9, 9, 9), 4]);
    expect(queue.collect()[0]!.length).toBe(4);
    expect([...ram.at(posted.pieces[0]!.at, 3)]).toEqual([9, 9, 9]);
    expect(asked).toEqual([4]);
  });

  it('gives back a buffer without room at once', () => {
    const { queue, asked } = started();
    queue.post([Uint8Array.of(1)]);
    queue.post([0]);
    expect(queue.collect().map(({ length }) => length)).toEqual([0, 0]);
    expect(asked).toEqual([]);
  });

  it('serves 64 KiB of a request and not a byte more', () => {
    const { queue, ram, asked } = started();
    const at = ram.alloc(70_000);
    queue.post([
      { at, length: 65_535, write: true },
      { at: at + 65_535, length: 10, write: true },
    ]);
    expect(queue.collect()[0]!.length).toBe(65_536);
    expect(asked).toEqual([65_535, 1]);
    expect([ram.at(at + 65_535, 1)[0], ram.at(at + 65_536, 1)[0]]).toEqual([2, 0]);
  });

  it('counts pieces that overlap as often as they come', () => {
    const { queue, ram, asked } = started();
    const piece = { at: ram.alloc(4096), length: 4096, write: true };
    queue.post(Array(60).fill(piece));
    expect(queue.collect()[0]!.length).toBe(65_536);
    expect(sum(asked)).toBe(65_536);
  });

  it('serves 128 KiB in one turn of the event loop, the rest in the next ones', async () => {
    const { queue, ram, asked, irq } = started();
    const piece = { at: ram.alloc(65_536), length: 65_536, write: true };
    for (let index = 0; index < 5; index += 1) queue.add([piece]);
    queue.kick();
    expect(sum(asked)).toBe(131_072);
    expect([queue.collect().length, irq.count]).toEqual([2, 1]);
    expect(await queue.take(3)).toHaveLength(3);
  });

  it('does not let requests for nothing hold the event loop', () => {
    const { queue } = started();
    // The driver makes the same buffer available for ever; the ring has 64 entries.
    queue.add([0]);
    for (let index = 0; index < 63; index += 1) queue.offer(0);
    queue.kick();
    expect(queue.usedIdx).toBe(64);
  });

  it('ignores kicks of queues that it has not', () => {
    const { driver, asked, faults } = started();
    void driver.write(REG.QueueNotify, 1);
    expect([asked, faults]).toEqual([[], []]);
  });

  it('is stopped by a broken ring and revived by a reset', () => {
    const { driver, queue, faults } = started();
    queue.offer(1000);
    queue.notify();
    expect([driver.status & 64, faults.length]).toEqual([64, 1]);
    driver.start();
    driver.queue().post([8]);
    expect(driver.queue().collect()[0]!.length).toBe(8);
  });
});

describe('its rate limit', () => {
  const limit: RateLimit = { bandwidth: { size: 100, refillMs: 1000 } };

  it('makes requests wait in order; what was served is seen at once', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const { queue, asked, irq } = started(limit);
    queue.add([60]);
    queue.add([50]);
    queue.add([40]);
    queue.kick();
    expect([asked, queue.collect().length, irq.take()]).toEqual([[60], 1, 1]);
    queue.notify();
    vi.advanceTimersByTime(99);
    await turn();
    expect(asked).toEqual([60]);
    vi.advanceTimersByTime(1);
    await turn();
    expect([asked, queue.collect().length]).toEqual([[60, 50], 1]);
    vi.advanceTimersByTime(400);
    await turn();
    expect([asked, queue.collect().length]).toEqual([[60, 50, 40], 1]);
  });

  it('counts what is served of a request, not what it asks for', () => {
    const { queue, ram, asked } = started({ bandwidth: { size: 65_536, refillMs: 1000 } });
    const piece = { at: ram.alloc(65_536), length: 65_536, write: true };
    queue.post(Array(10).fill(piece));
    expect([sum(asked), queue.collect().length]).toEqual([65_536, 1]);
  });

  it('is forgotten by a reset', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const { driver, queue } = started(limit);
    queue.post([100]);
    queue.post([100]);
    expect(vi.getTimerCount()).toBe(1);
    void driver.reset();
    expect(vi.getTimerCount()).toBe(0);
  });
});
