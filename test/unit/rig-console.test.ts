/** What the rig shows of the console of a machine that failed. */
import { writeFileSync } from 'node:fs';
import { afterAll, expect, it } from 'vitest';
import { consoleExcerpt } from '../rig/child.js';
import { scratch } from '../support/scratch.js';

const folder = scratch();
afterAll(() => folder[Symbol.dispose]());
const excerpt = (lines: readonly string[], count: number): string[] => {
  writeFileSync(folder.path('log'), lines.map((line) => `${line}\r\n`).join(''));
  return consoleExcerpt(folder.path('log'), count);
};
const numbered = (name: string, count: number) => Array.from({ length: count }, (_, n) => `${name} ${n}`);

it('are its last lines, if none says why', () => {
  expect(excerpt(numbered('line', 10), 3)).toEqual(['line 7', 'line 8', 'line 9']);
  expect(consoleExcerpt(folder.path('nothing'), 3)).toEqual([]);
});

it('are the lines with the reason, when all fit', () => {
  const lines = [...numbered('line', 4), 'Oops', ...numbered('more', 3)];
  expect(excerpt(lines, 4)).toEqual(['Oops', 'more 0', 'more 1', 'more 2']);
});

it('are the first lines with the reason and the last ones, when there are many', () => {
  const lines = ['before', 'BUG: stack guard page was hit', ...numbered('more', 100)];
  expect(excerpt(lines, 6)).toEqual([
    'BUG: stack guard page was hit',
    'more 0',
    '…',
    ...numbered('more', 100).slice(-4),
  ]);
});
