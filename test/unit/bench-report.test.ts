import { describe, expect, it } from 'vitest';
import { type Comparison, type Context, inTurns } from '../bench/benchmark.js';
import { details, isMet, ratioOf, table } from '../bench/report.js';
import { median, quantile } from '../bench/statistics.js';

const comparison = (ours: number[], peer: number[] | undefined, limit: Comparison['limit']): Comparison => ({
  name: 'row',
  what: 'a thing',
  unit: 'ms',
  ours,
  peer: peer && { what: 'another', samples: peer },
  limit,
  notes: ['a remark'],
});

describe('the benchmarks’ statistics', () => {
  it('take the middle of an odd number of samples and the mean of the two middle ones of an even number', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([9, 1, 5, 6])).toBe(5.5);
    expect(median([])).toBeNaN();
  });
  it('do not sort numbers as text', () => expect(median([100, 9, 20])).toBe(20));
  it('find a quantile among the samples', () => expect(quantile([5, 4, 3, 2, 1], 0.9)).toBe(5));
});

describe('a row is met', () => {
  it.each([
    ['within its ratio', [9], [10], { ratio: 0.9 }, true],
    ['not above its ratio', [9.2], [10], { ratio: 0.9 }, false],
    ['within both limits', [1], [10], { ratio: 0.15, absolute: 5 }, true],
    ['not when only the ratio is', [6], [100], { ratio: 0.15, absolute: 5 }, false],
    ['within its absolute limit without a peer', [2], undefined, { absolute: 2.5 }, true],
    ['not above it', [2.6], undefined, { absolute: 2.5 }, false],
    ['not when a ratio is asked for and there is no peer', [2], undefined, { ratio: 1 }, false],
  ])('%s', (_what, ours, peer, limit, met) => expect(isMet(comparison(ours, peer, limit))).toBe(met));

  it('or not judged when it only informs or could not be measured', () => {
    expect(isMet(comparison([1], [2], {}))).toBeUndefined();
    expect(isMet({ name: 'row', what: 'a thing', why: 'no KVM' })).toBeUndefined();
  });
});

describe('the benchmarks’ report', () => {
  const rows = [
    comparison([2, 4, 3], [6, 6, 6], { ratio: 1 }),
    { name: 'other', what: 'more', why: 'no KVM' },
  ];
  it('has a line for each row, measured or not', () => {
    const lines = table(rows).split('\n');
    expect(lines).toHaveLength(4);
    expect(lines[2]).toMatch(/a thing.*3\.00 ms.*6\.00 ms.*0\.50.*≤ 1 ×.*yes/);
    expect(lines[3]).toMatch(/more.*not measured/);
  });
  it('keeps every sample, every remark, and why a row is missing', () => {
    expect(details(rows)).toContain('row, ours (ms): 2.00 4.00 3.00');
    expect(details(rows)).toContain('row: a remark');
    expect(details(rows)).toContain('other: not measured: no KVM');
  });
  it('divides medians', () => expect(ratioOf(comparison([1, 2, 100], [4, 4, 4], {}))).toBe(0.5));
});

it('sides are measured in turns, and the first round is thrown away', async () => {
  const order: string[] = [];
  const side = (name: string) => (): number => order.push(name);
  const silent = { step: (_: string, work: (step: { update(): void }) => unknown) => work({ update() {} }) };
  const context = { rounds: 2, progress: silent } as unknown as Context;
  const samples = await inTurns(context, 'x', [side('A'), side('B')]);
  expect(order.join('')).toBe('ABABAB');
  expect(samples).toEqual([
    [3, 5],
    [4, 6],
  ]);
});
