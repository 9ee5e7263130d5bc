/** What a second run of failed test files may excuse, and what it may not. */
import { expect, it, vi } from 'vitest';
import { type FileResult, OUTSIDE } from '../file-results.js';
import { STATUS } from '../rig/rig.js';
import { withSecondRun } from '../second-run.js';

const PASSED = ['passed', 'skipped'];
const FAILED = ['passed', 'failed'];
vi.spyOn(process.stdout, 'write').mockReturnValue(true);

/** Runs `all` with the states that each run in turn finds. */
function runs(...found: readonly Record<string, string[]>[]) {
  const asked: (readonly string[])[] = [];
  const outcome = withSecondRun([], (files) => {
    const states = found[asked.length]!;
    asked.push(files);
    const results: FileResult[] = Object.entries(states).map(([name, of]) => ({
      name,
      states: of,
      failures: [],
    }));
    return { status: results.some(({ states: of }) => of.includes('failed')) ? 1 : 0, results };
  });
  return { ...outcome, asked };
}

it('is not made when nothing failed', () => {
  expect(runs({ a: PASSED, b: PASSED })).toMatchObject({ status: 0, unsteady: [], asked: [[]] });
});

it('is made of the files that failed, alone, and names those that pass then', () => {
  expect(runs({ a: PASSED, b: FAILED, c: FAILED }, { b: PASSED, c: FAILED })).toEqual({
    status: 1,
    results: [
      { name: 'a', states: PASSED, failures: [] },
      { name: 'b', states: PASSED, failures: [] },
      { name: 'c', states: FAILED, failures: [] },
    ],
    unsteady: ['b'],
    asked: [[], ['b', 'c']],
  });
});

it('excuses no file that it did not come to', () => {
  expect(runs({ a: PASSED, b: FAILED }, {})).toMatchObject({
    results: [{}, { name: 'b', states: FAILED }],
    unsteady: [],
  });
});

it('excuses no error outside of tests', () => {
  const outside = { [OUTSIDE]: ['failed'] };
  expect(runs({ a: FAILED, ...outside })).toMatchObject({ status: 1, unsteady: [], asked: [[]] });
  expect(runs({ a: FAILED }, { a: PASSED, ...outside })).toMatchObject({
    results: [{}, { name: OUTSIDE, states: ['failed'] }],
  });
});

it('is not made when many files fail, nor after a machine failed', () => {
  expect(runs({ a: FAILED, b: FAILED, c: FAILED, d: FAILED }).asked).toHaveLength(1);
  let count = 0;
  const machine = withSecondRun(['a'], () => {
    count += 1;
    return { status: STATUS.rigFailed, results: [{ name: 'a', states: FAILED, failures: [] }] };
  });
  expect(machine).toMatchObject({ status: STATUS.rigFailed, unsteady: [] });
  expect(count).toBe(1);
});
