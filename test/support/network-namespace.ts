/**
 * A network namespace for the thread that runs the tests of a file: interfaces made there are nobody else's, and gone with it. Only
 * for files of the unit project, whose threads end with their file.
 */
import { execFile, execFileSync } from 'node:child_process';
import { unshareNetwork } from './unshare.js';

/** Enters a new namespace. @returns false where this process may not, or there is no /dev/net/tun */
export function enterNetworkNamespace(): boolean {
  try {
    if (!unshareNetwork()) return false;
    execFileSync('ip', ['tuntap', 'add', 'probe', 'mode', 'tap'], { stdio: 'pipe' });
    execFileSync('ip', ['link', 'delete', 'probe'], { stdio: 'pipe' });
    return true;
  } catch {
    return false;
  }
}

/** `ip …` in the namespace. @throws Error with what it says */
export const ip = (...args: readonly string[]): string =>
  execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe' });

/** Runs a module's text without CAP_NET_ADMIN, in the namespace. @returns what it prints */
export function runWithoutNetAdmin(module: string): Promise<string> {
  const node = [
    process.execPath,
    '--import',
    import.meta.resolve('tsx'),
    '--input-type=module',
    '-e',
    module,
  ];
  return new Promise((resolve, reject) => {
    execFile('setpriv', ['--bounding-set=-net_admin', ...node], (error, stdout, stderr) =>
      error ? reject(new Error(stderr)) : resolve(stdout),
    );
  });
}
