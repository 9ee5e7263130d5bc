/** `npm test`, `npm run bench` and `npm run matrix`: sets up what they need on a fresh clone, then runs the one named. */
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
  } else if (first === 'matrix') {
    const { printMatrix } = await import('./matrix/main.ts');
    process.exitCode = await printMatrix();
  } else {
    const { runTests } = await import('./run.ts');
    process.exitCode = await runTests(process.argv.slice(2), { before, now: checkoutState });
  }
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 70;
}
