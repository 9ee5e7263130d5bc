/**
 * Fuzzing: many rounds, each from a random source of its own, so that one that fails can be found again. FUZZ_ROUNDS sets their
 * number (a million for a night), TEST_SEED the first round's seed.
 */
import { Random } from './random.js';

/** Seeds of consecutive rounds lie this far apart: `Random` walks by another step, so that rounds do not overlap. */
const STEP = 0x51ed_270b;

export interface FuzzOptions {
  /** Rounds of an ordinary run. */
  readonly rounds: number;
  readonly seed: number;
  /** Rounds leave something behind: the one that fails needs those before it to fail again. */
  readonly cumulative?: boolean;
}

const ROUNDS = process.env['FUZZ_ROUNDS'];

/** How long a fuzz test may take, ms: for `it`. */
export const FUZZ_LIMIT = 120_000 + 10 * Number(ROUNDS ?? 0);

/**
 * Runs rounds one after the other; the event loop has a turn every hundredth.
 * @returns how many were run
 * @throws Error that says how to repeat the round that failed
 */
export async function fuzz(
  { rounds, seed, cumulative = false }: FuzzOptions,
  round: (random: Random, number: number) => void | Promise<void>,
): Promise<number> {
  const count = Number(ROUNDS ?? rounds);
  const first = Number(process.env['TEST_SEED'] ?? seed);
  for (let number = 0; number < count; number += 1) {
    const own = (first + number * STEP) >>> 0;
    try {
      const pending = round(new Random(own), number);
      if (pending) await pending;
      else if (number % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const again = cumulative
        ? `TEST_SEED=${first} FUZZ_ROUNDS=${number + 1}`
        : `TEST_SEED=${own} FUZZ_ROUNDS=1`;
      throw new Error(`round ${number} of ${count}: ${reason}; again with ${again}`, { cause });
    }
  }
  return count;
}
