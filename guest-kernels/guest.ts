/**
 * `npm run -s guest -- lean|stock`: prepares a guest and prints the options that boot it, for
 * `node vmm.js $(npm run -s guest -- lean)`. Progress goes to standard error.
 * Runs on: main.
 */
import { leanGuest } from './lean.js';
import { Progress } from './progress.js';
import { RecipeError } from './recipe-error.js';
import { stockGuest } from './stock.js';

const GUESTS: Readonly<Record<string, typeof leanGuest | typeof stockGuest>> = {
  lean: leanGuest,
  stock: stockGuest,
};
const USAGE_STATUS = 64;
const FAILED_STATUS = 70;

/** @returns the exit code */
export async function guest(args: readonly string[]): Promise<number> {
  const prepare = GUESTS[args[0] ?? ''];
  if (!prepare || args.length > 1) {
    process.stderr.write(`usage: npm run -s guest -- ${Object.keys(GUESTS).join('|')}\n`);
    return USAGE_STATUS;
  }
  try {
    const { kernel, initrd } = await prepare({ progress: new Progress() });
    process.stdout.write(`--kernel ${kernel} --initrd ${initrd}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof RecipeError)) throw error;
    process.stderr.write(`guest: ${error.message}${error.hint ? ` (${error.hint})` : ''}\n`);
    return FAILED_STATUS;
  }
}
