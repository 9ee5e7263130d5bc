/**
 * Test files that fail run once more, by themselves. These tests drive real kernels, some inside an emulated machine, beside
 * strangers on the same processors; one that passes by itself is unsteady, which is told at the end, and not a failure. What
 * breaks a rule every time still fails: twice.
 * Runs on: main.
 */
import { type FileResult, OUTSIDE } from './file-results.js';
import { STATUS } from './rig/rig.js';

/** Files of one suite that may fail for no reason of theirs. More have one. */
const MAX_UNSTEADY = 3;

interface Run {
  /** vitest's, or the rig's. */
  readonly status: number;
  readonly results: readonly FileResult[];
}

interface Outcome extends Run {
  /** Files that failed at first, and then did not. */
  readonly unsteady: readonly string[];
}

/**
 * @param files what to run at first; none means all
 * @param once runs files; the name is new at each call
 */
export function withSecondRun(
  files: readonly string[],
  once: (files: readonly string[], name: string) => Run,
): Outcome {
  const first = once(files, 'first');
  const failed = first.results.filter(hasFailed).map(({ name }) => name);
  const machineFailed = first.status === STATUS.rigFailed || first.status === STATUS.timeout;
  // An error outside of tests has no file that could be asked again.
  const repeatable = !machineFailed && !failed.includes(OUTSIDE) && failed.length <= MAX_UNSTEADY;
  if (failed.length === 0 || !repeatable) return { ...first, unsteady: [] };
  process.stdout.write(`\n${failed.length} test file(s) failed, and run once more by themselves\n`);
  const second = once(failed, 'second');
  const now = new Map(second.results.map((result) => [result.name, result]));
  return {
    status: second.status,
    results: first.results.map((result) => now.get(result.name) ?? result).concat(outside(second)),
    unsteady: failed.filter((name) => now.has(name) && !hasFailed(now.get(name)!)),
  };
}

const hasFailed = ({ states }: FileResult): boolean => states.includes('failed');

const outside = ({ results }: Run): FileResult[] => results.filter(({ name }) => name === OUTSIDE);
