/** How `npm test` counts: what did not run is never counted as passed. */
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { OUTSIDE } from '../file-results.js';
import { STATUS } from '../rig/rig.js';
import { countsOf, ROOT, untilEnded } from '../suites.js';

/** Results with a failure of each `failed`. */
const report = (files: Record<string, string[]>) =>
  Object.entries(files).map(([name, states]) => ({
    name: join(ROOT, 'test', name),
    states,
    failures: states.filter((state) => state === 'failed').map(() => 'why'),
  }));
const of = (...projects: string[]) => ({ name: 'all', projects });

describe('the summary', () => {
  it('adds up what the projects say, and names what failed', () => {
    const files = {
      'unit/a.test.ts': ['passed', 'failed', 'skipped'],
      'fuzz/b.test.ts': ['passed', 'pending'],
    };
    expect(countsOf(of('unit', 'fuzz'), report(files), 1, [join(ROOT, 'test/unit/c.test.ts')])).toEqual({
      passed: 2,
      failures: ['all: test/unit/a.test.ts: why'],
      skipped: 2,
      unsteady: ['all: test/unit/c.test.ts'],
    });
  });

  it('counts a project without a test that ran as a failure', () => {
    const files = { 'unit/a.test.ts': ['passed'], 'unit-other/b.test.ts': ['passed'] };
    const none = { failures: ['all: no test of fuzz ran'] };
    expect(countsOf(of('unit'), report(files), 0)).toMatchObject({ passed: 2, failures: [] });
    expect(countsOf(of('unit', 'fuzz'), report(files), 0)).toMatchObject({ passed: 2, ...none });
    const skipped = report({ 'fuzz/a.test.ts': ['skipped', 'skipped'] });
    expect(countsOf(of('fuzz'), skipped, 0)).toMatchObject(none);
    expect(countsOf(of('fuzz'), report({ 'fuzz/a.test.ts': [] }), 0)).toMatchObject(none);
  });

  it('counts a run that failed outside of tests as one failure', () => {
    expect(countsOf(of('unit'), report({ 'unit/a.test.ts': ['passed'] }), 1)).toMatchObject({
      passed: 1,
      failures: ['all: the tests ended with status 1'],
    });
    const outside = { name: OUTSIDE, states: ['failed'], failures: ['a rejection'] };
    expect(countsOf(of(), [outside], 1).failures).toEqual([`all: ${OUTSIDE}: a rejection`]);
  });
});

describe('tests in the rig', () => {
  vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  const files = ['a', 'b', 'c', 'd'];
  /** Machines that end as many files as `ends` says, one after the other, and fail; the last one does not. */
  const machines = (ends: readonly number[]) => {
    const ended: string[] = [];
    const runs: string[][] = [];
    const inRig = (left: readonly string[]): number => {
      const count = ends[runs.length];
      runs.push([...left]);
      ended.push(...left.slice(0, count));
      return count === undefined ? 0 : STATUS.rigFailed;
    };
    return { runs, status: untilEnded(files, inRig, () => ended) };
  };

  it('run once in a machine that does not fail', () => {
    expect(machines([])).toEqual({ status: 0, runs: [files] });
  });

  it('go on in another machine with what had not ended', () => {
    expect(machines([1, 0, 1])).toEqual({
      status: 0,
      runs: [files, files.slice(1), files.slice(1), ['c', 'd']],
    });
  });

  it('fail when two machines fail at the same file', () => {
    expect(machines([1, 0, 0])).toMatchObject({ status: STATUS.rigFailed, runs: { length: 3 } });
  });

  it('fail when too many machines do', () => {
    expect(machines([1, 1, 0, 1])).toMatchObject({ status: STATUS.rigFailed, runs: { length: 4 } });
  });

  it('pass on what a command that is not the rig says', () => {
    expect(
      untilEnded(
        files,
        () => 1,
        () => files,
      ),
    ).toBe(1);
  });
});
