/**
 * Rows about network cards without a guest: what a frame costs from one driver through two tap interfaces to another.
 * Runs on: main.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Benchmark } from './benchmark.js';

const INSIDE = join(import.meta.dirname, 'inside/tap-frames.ts');
/** The large frames' bytes, and the rate that is wanted. */
const BYTES = 65_054;
const GIGABITS = 10;

export const tap: Benchmark = {
  name: 'tap',
  async run({ rounds, progress }) {
    const [name, what] = ['tap-large', 'driver → tap → bridge → tap → driver: a frame of 64 KiB to be cut'];
    return progress.step('frames through tap interfaces', async () => {
      let output: string;
      try {
        const args = ['-n', process.execPath, '--import', 'tsx', INSIDE, String(rounds)];
        output = execFileSync('unshare', args, { encoding: 'utf8', stdio: 'pipe', timeout: 300_000 });
      } catch (error) {
        const { stderr, message } = error as Error & { stderr?: string };
        const why =
          stderr
            ?.trim()
            .split('\n')
            .find((line) => line.includes('rror')) ?? message.split('\n')[0]!;
        return [{ name, what, why: `tap interfaces in a network namespace cannot be made here: ${why}` }];
      }
      const { large, small } = JSON.parse(output) as { large: number[]; small: number[] };
      const rate = (bytes: number, samples: readonly number[]): string =>
        `${((bytes * 8) / 1000 / Math.min(...samples)).toFixed(1)} Gbit/s at best, both drivers included`;
      return [
        {
          name,
          what,
          unit: 'µs',
          ours: large,
          limit: { absolute: (BYTES * 8) / 1000 / GIGABITS },
          notes: [rate(BYTES, large), `the limit is ${GIGABITS} Gbit/s`],
        },
        {
          name: 'tap-small',
          what: 'the same, a frame of 1514 bytes',
          unit: 'µs',
          ours: small,
          limit: {},
          notes: [rate(1514, small)],
        },
      ];
    });
  },
};
