/** The checkout this is run from. Plain JavaScript without dependencies, because it is asked before there are any. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/**
 * Its changes in git's words, empty when there are none; undefined when it is no checkout.
 * @returns {string | undefined}
 */
export function checkoutState() {
  const { status, stdout } = spawnSync('git', ['status', '--porcelain'], {
    cwd: join(import.meta.dirname, '..'),
    encoding: 'utf8',
  });
  return status === 0 ? stdout : undefined;
}
