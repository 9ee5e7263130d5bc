import { describe, expect, it } from 'vitest';
import { ByteBacklog } from '../../../src/vm/byte-backlog.js';

const KiB = 1024;
const numbered = (from: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (from + index) % 251);
const drain = (backlog: ByteBacklog): Buffer => {
  const chunks: Buffer[] = [];
  for (let chunk = backlog.take(); chunk; chunk = backlog.take()) chunks.push(chunk);
  return Buffer.concat(chunks);
};

describe('a backlog', () => {
  it('gives back what was put in, in order, however it was cut', () => {
    const backlog = new ByteBacklog(256 * KiB);
    let at = 0;
    for (const length of [0, 1, 3, 16 * KiB - 4, 16 * KiB, 40_000, 1]) {
      expect(backlog.append(numbered(at, length))).toBe(0);
      at += length;
    }
    expect(backlog.length).toBe(at);
    expect(drain(backlog)).toEqual(Buffer.from(numbered(0, at)));
    expect(backlog.length).toBe(0);
    expect(backlog.take()).toBeUndefined();
  });

  it('takes bytes again after it was emptied, and does not change those it gave away', () => {
    const backlog = new ByteBacklog(64 * KiB);
    backlog.append(numbered(0, 10));
    const first = backlog.take();
    backlog.append(numbered(100, 10));
    expect(first).toEqual(Buffer.from(numbered(0, 10)));
    expect(drain(backlog)).toEqual(Buffer.from(numbered(100, 10)));
  });

  it('copies', () => {
    const backlog = new ByteBacklog(64 * KiB);
    const bytes = Uint8Array.of(1, 2, 3);
    backlog.append(bytes);
    bytes.fill(9);
    expect([...drain(backlog)]).toEqual([1, 2, 3]);
  });

  it('drops the oldest beyond its limit, and says how many', () => {
    const backlog = new ByteBacklog(64 * KiB);
    let dropped = 0;
    for (let at = 0; at < 100 * KiB; at += 1000) dropped += backlog.append(numbered(at, 1000));
    const total = Math.ceil((100 * KiB) / 1000) * 1000;
    expect(backlog.length).toBeLessThanOrEqual(64 * KiB);
    expect(backlog.length).toBeGreaterThan(40 * KiB);
    expect(dropped + backlog.length).toBe(total);
    expect(drain(backlog)).toEqual(Buffer.from(numbered(dropped, total - dropped)));
  });

  it('costs a writer of single bytes no more than a writer of many', () => {
    const backlog = new ByteBacklog(1024 * KiB);
    const one = Uint8Array.of(7);
    const started = performance.now();
    // An array of a million chunks would move them all at each byte beyond the limit: minutes.
    for (let count = 0; count < 2 ** 21; count += 1) backlog.append(one);
    expect(performance.now() - started).toBeLessThan(5000);
    expect(backlog.length).toBeLessThanOrEqual(2 ** 20);
  });
});
