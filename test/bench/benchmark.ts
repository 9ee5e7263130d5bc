/**
 * What a benchmark is: two things measured in turns, A B A B, in one run on one machine. Only their ratio means something; what
 * a host cannot measure is said in words, never left out.
 * Runs on: main.
 */
import type { Progress } from '../../guest-kernels/progress.js';

export type Unit = 'ms' | 'µs' | 'MiB';

/** A row of the final table. */
export interface Comparison {
  readonly name: string;
  readonly what: string;
  readonly unit: Unit;
  readonly ours: readonly number[];
  /** Absent where there is only a limit. */
  readonly peer?: { readonly what: string; readonly samples: readonly number[] } | undefined;
  /** Median CPU time of each side, in the same unit: less disturbed than time when other work shares the CPUs. */
  readonly cpu?: { readonly ours: number; readonly peer: number };
  /** What the median must not exceed; nothing for rows that only inform. */
  readonly limit: { readonly ratio?: number; readonly absolute?: number };
  /** What was counted, and how; whatever a reader needs to believe the number. */
  readonly notes: readonly string[];
}

/** A row that could not be measured here. */
export interface Unmeasured {
  readonly name: string;
  readonly what: string;
  readonly why: string;
}

export type Row = Comparison | Unmeasured;

export interface Context {
  /** Pairs of measurements per comparison. */
  readonly rounds: number;
  readonly progress: Progress;
  /** Whether a job is to run, for benchmarks that have many on one machine. */
  wants(this: void, job: { readonly name: string }): boolean;
  /** A compiled program of peers/. */
  peer(name: 'stopwatch' | 'exit-loop'): string;
  /** A folder for files of this run. */
  readonly folder: string;
}

export interface Benchmark {
  readonly name: string;
  run(context: Context): Promise<readonly Row[]>;
}

/**
 * Measures all `sides` once per round, in turns; the first round warms caches and is thrown away.
 * @returns per side its samples, as many as `rounds`
 */
export async function inTurns(
  { rounds, progress }: Context,
  title: string,
  sides: readonly (() => number | Promise<number>)[],
): Promise<number[][]> {
  const samples: number[][] = sides.map(() => []);
  await progress.step(title, async (step) => {
    for (let round = 0; round <= rounds; round += 1) {
      for (const [index, side] of sides.entries()) {
        const value = await side();
        if (round > 0) samples[index]!.push(value);
      }
      step.update(round / rounds);
    }
  });
  return samples;
}

/** Boots of a guest per monitor, where one measures many things and takes minutes: a fifth of the pairs, and at most `most`. */
export const bootsOf = ({ rounds }: Pick<Context, 'rounds'>, most: number): number =>
  Math.max(1, Math.min(most, Math.floor(rounds / 5)));
