/**
 * Running projects of the vitest configuration and counting their tests, as parts of `npm test`. The rule: what did not run is
 * never counted as passed; a project of which no test ran is a failure.
 * Runs on: main.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, isAbsolute, join, relative, sep } from 'node:path';
import { cacheRoot } from '../guest-kernels/cache.js';
import { type FileResult, RESULTS_FILE, readResults } from './file-results.js';
import { STATUS } from './rig/rig.js';
import { withSecondRun } from './second-run.js';

export const ROOT = dirname(import.meta.dirname);
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs');
const CONFIG = join(ROOT, 'test/vitest.config.ts');
const REPORTERS = ['--reporter=default', `--reporter=${join(ROOT, 'test/file-results.ts')}`];
/** Machines that may fail in one suite. */
const MAX_MACHINES = 4;
/** The rig's limit for the whole of its tests, s. */
const RIG_LIMIT = 1800;
/** A machine that hangs tests nothing; a file of tests prints when it ends, s. */
const RIG_SILENCE = 480;
/** The rig's memory, MiB: for a guest that reaches above 4 GiB. It is taken from the host as it is used. */
const RIG_MEMORY = 6144;

export interface Counts {
  readonly passed: number;
  /** What failed and why, a line each. */
  readonly failures: readonly string[];
  readonly skipped: number;
  /** Files that failed, and passed in a second run by themselves. */
  readonly unsteady: readonly string[];
}

export const NOTHING: Counts = { passed: 0, failures: [], skipped: 0, unsteady: [] };
export const PASSED: Counts = { ...NOTHING, passed: 1 };

/** One failure, said at once and again at the end. */
export function failure(why: string): Counts {
  say(`\nFAILED: ${why}`);
  return { ...NOTHING, failures: [why] };
}

export const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** A program that says by its status alone how it went; counts as one test. */
export function command(name: string, file: string, args: readonly string[]): Counts {
  say(`\n== ${name}`);
  return run([join(ROOT, file), ...args]) === 0 ? PASSED : failure(name);
}

/** vitest with the user's own arguments. @returns its exit status */
export const vitest = (args: readonly string[]): number => run([VITEST, 'run', '--config', CONFIG, ...args]);

/** Runs projects of the vitest configuration. */
export function suite(name: string, projects: readonly string[], env: Record<string, string> = {}): Counts {
  say(`\n== ${name}: ${projects.join(', ')}`);
  const chosen = projects.flatMap((project) => ['--project', project]);
  const once = (files: readonly string[], results: string): number =>
    run([VITEST, 'run', '--config', CONFIG, ...chosen, ...REPORTERS, ...files], {
      ...env,
      [RESULTS_FILE]: results,
    });
  return inFolder((folder) => outcome(name, [], projects, folder, once));
}

/**
 * The same for one project in the rig. If the rig itself fails (its machine is an emulator that crashes now and then), which is
 * told, the files that had not ended run in another machine; one that ran when two machines failed counts as failed.
 */
export function rigSuite(name: string, project: string, env: Record<string, string>): Counts {
  say(`\n== ${name}: ${project}`);
  const folder = join(ROOT, 'test', project);
  const all = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.ts'))
    .map((path) => join(folder, path));
  return inFolder((shared) => {
    const once = (files: readonly string[], results: string): number => {
      const variables = Object.entries({ ...env, TYPEVISOR_CACHE: cacheRoot(), [RESULTS_FILE]: results });
      const options = [
        ...Object.entries({
          timeout: RIG_LIMIT,
          silence: RIG_SILENCE,
          memory: RIG_MEMORY,
          rw: shared,
        }).flatMap(([name, value]) => [`--${name}`, String(value)]),
        ...variables.flatMap(([key, value]) => ['--env', `${key}=${value}`]),
      ];
      const inRig = (paths: readonly string[]): number => {
        const vitestInside = [
          VITEST,
          'run',
          '--config',
          CONFIG,
          '--project',
          project,
          ...REPORTERS,
          ...paths,
        ];
        const inside = [process.execPath, ...vitestInside];
        return run(['--import', 'tsx', join(ROOT, 'test/rig/main.ts'), ...options, '--', ...inside]);
      };
      return untilEnded(files, inRig, () => readResults(results).map((result) => result.name));
    };
    return outcome(name, all, [project], shared, once);
  });
}

/** Runs test files, those that failed twice, and counts. */
function outcome(
  name: string,
  files: readonly string[],
  projects: readonly string[],
  folder: string,
  once: (files: readonly string[], results: string) => number,
): Counts {
  const { results, status, unsteady } = withSecondRun(files, (paths, name) => {
    const file = join(folder, name);
    return { status: once(paths, file), results: readResults(file) };
  });
  return countsOf({ name, projects }, results, status, unsteady);
}

/**
 * Runs `files` until each has ended, or two machines failed without one of them ending, or `MAX_MACHINES` failed.
 * @param inRig runs some of them, and returns an exit status
 * @returns the last exit status
 */
export function untilEnded(
  files: readonly string[],
  inRig: (files: readonly string[]) => number,
  ended: () => readonly string[],
): number {
  let left = files;
  for (let machine = 1, fruitless = 0; ; machine += 1) {
    const status = inRig(left);
    if (status !== STATUS.rigFailed && status !== STATUS.timeout) return status;
    const names = new Set(ended());
    const still = files.filter((path) => !names.has(path));
    fruitless = still.length < left.length ? 0 : fruitless + 1;
    if (still.length === 0 || fruitless === 2 || machine === MAX_MACHINES) return status;
    say(`the rig failed with ${status}; ${still.length} of ${files.length} files go on in another machine`);
    left = still;
  }
}

function inFolder(work: (folder: string) => Counts): Counts {
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-test-'));
  try {
    return work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param status vitest's; a file that cannot be loaded, or an error outside of tests, fails no test but the run */
export function countsOf(
  suite: { readonly name: string; readonly projects: readonly string[] },
  results: readonly FileResult[],
  status: number,
  unsteady: readonly string[] = [],
): Counts {
  const ran = (state: string): boolean => state === 'passed' || state === 'failed';
  const empty = suite.projects.filter((project) => {
    const files = results.filter(({ name }) => name.startsWith(join(ROOT, 'test', project) + sep));
    return !files.some(({ states }) => states.some(ran));
  });
  const states = results.flatMap((result) => result.states);
  const count = (...wanted: string[]): number => states.filter((state) => wanted.includes(state)).length;
  const failures = [
    ...results.flatMap(({ name, failures: all }) => all.map((why) => `${shown(name)}: ${why}`)),
    ...empty.map((project) => `no test of ${project} ran`),
  ];
  if (status !== 0 && failures.length === 0) failures.push(`the tests ended with status ${status}`);
  return {
    passed: count('passed'),
    failures: failures.map((line) => `${suite.name}: ${line}`),
    skipped: count('skipped', 'pending'),
    unsteady: unsteady.map((path) => `${suite.name}: ${shown(path)}`),
  };
}

/** A test file's path as people write it; other names as they are. */
const shown = (name: string): string => (isAbsolute(name) ? relative(ROOT, name) : name);

/** @returns the exit status */
function run(args: readonly string[], env: Record<string, string> = {}): number {
  const { status } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  return status ?? 1;
}
