/** How `npm test` counts: what did not run is never counted as passed. */
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { STATUS } from '../rig/rig.js';
import { countsOf, ROOT, untilEnded } from '../suites.js';

const report = (files: Record<string, string[]>) =>
  Object.entries(files).map(([name, states]) => ({ name: join(ROOT, 'test', name), states }));

describe('the summary', () => {
  vi.spyOn(process.stdout, 'write').mockReturnValue(true);

  it('adds up what the projects say', () => {
    const files = {
      'unit/a.test.ts': ['passed', 'failed', 'skipped'],
      'fuzz/b.test.ts': ['passed', 'pending'],
    };
    expect(countsOf(report(files), ['unit', 'fuzz'], 1)).toEqual({
      passed: 2,
      failed: 1,
      skipped: 2,
      unsteady: [],
    });
  });

  it('counts a project without a test that ran as a failure', () => {
    const files = { 'unit/a.test.ts': ['passed'], 'unit-other/b.test.ts': ['passed'] };
    expect(countsOf(report(files), ['unit'], 0)).toEqual({ passed: 2, failed: 0, skipped: 0, unsteady: [] });
    expect(countsOf(report(files), ['unit', 'fuzz'], 0)).toEqual({
      passed: 2,
      failed: 1,
      skipped: 0,
      unsteady: [],
    });
    expect(countsOf(report({ 'fuzz/a.test.ts': ['skipped', 'skipped'] }), ['fuzz'], 0)).toMatchObject({
      failed: 1,
    });
    expect(countsOf(report({ 'fuzz/a.test.ts': [] }), ['fuzz'], 0)).toMatchObject({ failed: 1 });
  });

  it('counts a run that failed outside of tests as one', () => {
    expect(countsOf(report({ 'unit/a.test.ts': ['passed'] }), ['unit'], 1)).toMatchObject({
      passed: 1,
      failed: 1,
    });
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
