import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const MODULE = join(import.meta.dirname, '../../../guest-kernels/interruption.ts');

/** A process that waits to be interrupted, cleans up for as long as `cleanUp` takes, and ends with the status. */
async function interrupted(
  signals: readonly NodeJS.Signals[],
  cleanUp: string,
): Promise<[number | null, string]> {
  const script = `
    import { Interruption } from '${MODULE}';
    const interruption = new Interruption();
    const waiting = setInterval(() => {}, 1000);
    console.log('ready');
    await new Promise((resolve) => interruption.signal.addEventListener('abort', resolve));
    console.log(interruption.signal.reason.message);
    ${cleanUp}
    clearInterval(waiting);
    process.exitCode = interruption.status;`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script]);
  child.stdin.end();
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const closed = once(child, 'close');
  for (const [index, signal] of signals.entries()) {
    const seen = (): number => output.split('\n').length - 1;
    while (seen() <= index && !child.stdout.readableEnded)
      await Promise.race([once(child.stdout, 'data'), closed]);
    child.kill(signal);
  }
  const [code] = (await closed) as [number | null];
  return [code, output];
}

describe('an interruption', { timeout: 20_000 }, () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('by %s aborts the work and gives the status %i', async (signal, status) => {
    expect(await interrupted([signal], '')).toEqual([status, `ready\ninterrupted by ${signal}\n`]);
  });

  it('by a second signal does not wait for the work', async () => {
    const forever = 'await new Promise(() => {});';
    expect(await interrupted(['SIGINT', 'SIGTERM'], forever)).toEqual([
      143,
      'ready\ninterrupted by SIGINT\n',
    ]);
  });
});
