/** `npm test` and `npm run bench`: sets up what they need on a fresh clone, then runs run.ts or bench/main.ts. */
import { checkoutState } from '../native/checkout.mjs';
import { SetupError, setUp } from '../native/setup.mjs';

try {
  const before = checkoutState();
  await setUp();
  const { register } = await import('tsx/esm/api');
  register();
  const [first, ...rest] = process.argv.slice(2);
  if (first === 'bench') {
    const { runBenchmarks } = await import('./bench/main.ts');
    process.exitCode = await runBenchmarks(rest);
  } else {
    const { runTests } = await import('./run.ts');
    process.exitCode = await runTests(process.argv.slice(2), { before, now: checkoutState });
  }
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 70;
}
