import { describe, expect, it } from 'vitest';
import { ExitStats } from '../../../src/vcpu/stats.js';

describe('the exit counters', () => {
  it('count by kind and by address', () => {
    const stats = new ExitStats();
    stats.access('pio', 0x3f8);
    stats.access('pio', 0x3f8);
    stats.access('mmio', 0x3f8);
    stats.count('hlt');
    expect(stats.total).toBe(4);
    expect(Object.fromEntries(stats.kinds)).toEqual({ pio: 2, mmio: 1, hlt: 1 });
    expect([...stats.pio]).toEqual([[0x3f8, 2]]);
    expect([...stats.mmio]).toEqual([[0x3f8, 1]]);
  });

  it('tell at most 512 addresses apart, but count every exit', () => {
    const stats = new ExitStats();
    for (let address = 0; address < 10_000; address += 1) stats.access('mmio', address);
    stats.access('mmio', 0);
    stats.access('mmio', 9999);
    stats.access('pio', 9999);
    expect(stats.mmio.size).toBe(512);
    expect(stats.mmio.get(0)).toBe(2);
    expect(stats.mmio.has(9999)).toBe(false);
    expect(stats.pio.get(9999)).toBe(1);
    expect(stats.total).toBe(10_003);
  });
});
