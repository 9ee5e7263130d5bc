/**
 * Makes a fresh clone ready: packages from the lock file, then the build; each only when something changed. Plain
 * JavaScript without dependencies, because it runs before there are any.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const STAMP = join(ROOT, 'node_modules/.typevisor-lock');
const LEAST_NODE = [20, 19];

/** What node-gyp runs, and the Debian package that has it. */
const TOOLS = { 'g++': 'g++', make: 'make', python3: 'python3' };

/** One line for the user, no stack. */
export class SetupError extends Error {}

const say = (line) => process.stderr.write(`${line}\n`);

/** @throws SetupError */
export async function setUp() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < LEAST_NODE[0] || (major === LEAST_NODE[0] && minor < LEAST_NODE[1])) {
    throw new SetupError(`Node ${LEAST_NODE.join('.')} or newer is needed; this is ${process.versions.node}`);
  }
  const missing = Object.entries(TOOLS).filter(
    ([tool]) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error,
  );
  if (missing.length > 0) {
    throw new SetupError(
      `the build needs ${missing.map(([tool]) => tool).join(', ')}: apt-get install ${missing.map(([, name]) => name).join(' ')}`,
    );
  }
  installPackages();
  const { build } = await import('./build.mjs');
  await build({ log: say });
}

function installPackages() {
  const lock = createHash('sha256')
    .update(readFileSync(join(ROOT, 'package-lock.json')))
    .digest('hex');
  if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === lock) return;
  say('installing packages ...');
  const started = performance.now();
  // Not `npm ci`: it fails where a registry lacks optional packages that other platforms need. Versions are the lock's, and
  // --no-save keeps npm from writing what it makes of the lock on this platform into the checkout.
  const args = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error', '--ignore-scripts'];
  const npm = process.env.npm_execpath;
  const { status, error } = npm
    ? spawnSync(process.execPath, [npm, ...args], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] })
    : spawnSync('npm', args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new SetupError(`npm install failed${error ? `: ${error.message}` : ''}`);
  writeFileSync(STAMP, lock);
  say(`installed packages in ${((performance.now() - started) / 1000).toFixed(1)} s`);
}
