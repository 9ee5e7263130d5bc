/** Times whole processes with peers/stopwatch.c, from before exec to a text on their output and to their end. Runs on: main. */
import { spawnSync } from 'node:child_process';
import type { Context } from './benchmark.js';
import { median } from './statistics.js';

export interface Timing {
  /** Until the pattern was complete, ms. */
  readonly pattern: number;
  /** Until the process was reaped, ms. */
  readonly exit: number;
  /** CPU time until then, ms. */
  readonly cpu: number;
}

export interface TimedCommand {
  readonly command: readonly string[];
  readonly pattern?: string;
  /** Kill it once the pattern was seen. */
  readonly endless?: boolean;
  /** Exit status that means success; 137 when endless. */
  readonly status?: number;
  readonly limitMs?: number;
}

/**
 * What Node reads at its start costs every `node`, and some machines set it for reasons of their own: 30 ms for a folder of
 * certificates. Both sides are measured without it.
 */
export function quietEnvironment(): NodeJS.ProcessEnv {
  const { NODE_EXTRA_CA_CERTS: _certificates, NODE_OPTIONS: _options, ...rest } = process.env;
  return rest;
}

/** @throws Error with what the command said, when it did not do what it should */
export function time(context: Pick<Context, 'peer'>, timed: TimedCommand): Timing {
  const { command, pattern, endless = false, status = endless ? 137 : 0, limitMs = 120_000 } = timed;
  const args = [...(endless ? ['-k'] : []), pattern ?? '-', String(limitMs), ...command];
  const result = spawnSync(context.peer('stopwatch'), args, {
    encoding: 'utf8',
    env: quietEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [found = -1, exit = -1, cpu = -1, got = -1] = result.stdout.trim().split(' ').map(Number);
  const failed = result.status !== 0 || got !== status || (pattern !== undefined && found < 0);
  if (failed) {
    const what = `status ${got}, wanted ${status}; pattern ${found < 0 ? 'not ' : ''}seen`;
    throw new Error(`${command.join(' ')}: ${what}\n${result.stderr}`);
  }
  return { pattern: found / 1e6, exit: exit / 1e6, cpu: cpu / 1e6 };
}

/** Collects the CPU times beside the times of one side; the first round, which is thrown away, counts too: it is a median. */
export class CpuTimes {
  readonly #samples: number[] = [];

  /** A side for `inTurns` that measures `command` up to its `end`. */
  side(context: Pick<Context, 'peer'>, command: TimedCommand, end: 'pattern' | 'exit'): () => number {
    return () => {
      const timing = time(context, command);
      this.#samples.push(timing.cpu);
      return timing[end];
    };
  }

  get median(): number {
    return median(this.#samples);
  }
}
