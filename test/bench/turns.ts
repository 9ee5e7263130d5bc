/**
 * Boots of guests under several monitors in turns, each of which measures many things and takes its time. What there is goes to a file
 * after every boot, and what the file has already is not measured again: a run that is broken off loses one boot.
 * Runs on: main, in a process of its own.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Progress } from '../../guest-kernels/progress.js';
import type { JobBoot } from './guest-jobs.js';

/** What each monitor measured, a record of jobs for each boot; what never ran is not there. */
export type TurnResults = Readonly<Partial<Record<string, readonly JobBoot[]>>>;

export interface Turns {
  readonly output: string;
  /** Boots of each monitor in all. */
  readonly rounds: number;
  readonly monitors: readonly string[];
}

export const readTurns = (output: string): TurnResults =>
  existsSync(output) ? (JSON.parse(readFileSync(output, 'utf8')) as TurnResults) : {};

export async function takeTurns(
  title: string,
  { output, rounds, monitors }: Turns,
  measure: (monitor: string) => Promise<JobBoot>,
): Promise<void> {
  const results: Record<string, JobBoot[]> = {};
  for (const [monitor, boots] of Object.entries(readTurns(output))) results[monitor] = [...(boots ?? [])];
  for (const monitor of monitors) results[monitor] ??= [];
  await new Progress().step(title, async (step) => {
    for (let round = 0; round < rounds; round += 1) {
      for (const [index, monitor] of monitors.entries()) {
        step.update((round + index / monitors.length) / rounds, monitor);
        const done = results[monitor]!;
        if (done.length > round) continue;
        done.push(await measure(monitor));
        writeFileSync(`${output}.new`, JSON.stringify(results));
        renameSync(`${output}.new`, output);
        process.stderr.write(`measured ${monitor}: ${told(done.at(-1)!)}\n`);
      }
    }
  });
}

/** Whoever stops a long run has at least this. */
function told(boot: JobBoot): string {
  const figure = (one: JobBoot[string]): string => ('time' in one ? `${one.time.toFixed(0)} µs` : one.why);
  return Object.entries(boot)
    .map(([job, one]) => `${job} ${figure(one)}`)
    .join(', ');
}
