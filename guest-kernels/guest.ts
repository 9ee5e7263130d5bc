/**
 * `npm run -s guest -- lean|stock [SERIES]`: prepares a guest and prints the options that boot it, for
 * `node vmm.js $(npm run -s guest -- lean)`. Progress goes to standard error.
 * Runs on: main.
 */
import { leanGuest } from './lean.js';
import { Progress } from './progress.js';
import { RecipeError } from './recipe-error.js';
import { STOCK_SERIES, stockGuest } from './stock.js';

const SERIES: readonly string[] = STOCK_SERIES;
const USAGE = `usage: npm run -s guest -- lean|stock [${SERIES.join('|')}]\n`;
const USAGE_STATUS = 64;
const FAILED_STATUS = 70;

/** @returns the exit code */
export async function guest(args: readonly string[]): Promise<number> {
  const [name = '', series = SERIES[0], ...rest] = args;
  const known = name === 'stock' ? SERIES.includes(series!) : name === 'lean' && args.length === 1;
  if (!known || rest.length > 0) {
    process.stderr.write(USAGE);
    return USAGE_STATUS;
  }
  try {
    const progress = new Progress();
    const { kernel, initrd } = await (name === 'lean'
      ? leanGuest({ progress })
      : stockGuest({ progress, series: series! }));
    process.stdout.write(`--kernel ${kernel} --initrd ${initrd}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof RecipeError)) throw error;
    process.stderr.write(`guest: ${error.message}${error.hint ? ` (${error.hint})` : ''}\n`);
    return FAILED_STATUS;
  }
}
