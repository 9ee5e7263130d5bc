/**
 * Debian packages whose commands a recipe runs: finds out which are missing and installs them, as root; otherwise says
 * the exact command that would.
 * Runs on: main.
 */
import { statusFraction } from './apt-status.js';
import { run, runText } from './command.js';
import { type DebianOptions, updateIndex } from './debian-index.js';
import { Progress } from './progress.js';
import { RecipeError } from './recipe-error.js';

export interface InstallOptions extends DebianOptions {
  /** What needs them, for the error: `the rig`. */
  readonly reason: string;
  /** Whether this process may install packages; whether it runs as root, unless a test says otherwise. */
  readonly mayInstall?: boolean;
}

/** Which of `packages` dpkg does not have installed, in their order. */
export async function missingPackages(
  packages: readonly string[],
  options: DebianOptions = {},
): Promise<string[]> {
  if (packages.length === 0) return [];
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
  const format = '${Package} ${db:Status-Status}\n';
  // Status 1: it knows nothing of one of the names; the others are still listed.
  const listing = await runText('dpkg-query', ['-W', '-f', format, ...packages], {
    accept: [1],
    hint: 'this needs a Debian system',
    signal: options.signal,
  });
  const installed = new Set<string>();
  for (const line of listing.split('\n')) {
    const [name, status] = line.split(' ');
    if (name && status === 'installed') installed.add(name);
  }
  return packages.filter((name) => !installed.has(name));
}

/** Installs what is missing of `packages`. @throws RecipeError with the command to run, if not allowed to */
export async function ensureInstalled(packages: readonly string[], options: InstallOptions): Promise<void> {
  const missing = await missingPackages(packages, options);
  if (missing.length === 0) return;
  const { progress = Progress.silent, mayInstall = process.getuid?.() === 0, signal } = options;
  const command = `apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  if (!mayInstall) {
    throw new RecipeError(
      `${options.reason} needs Debian packages that are not installed: ${missing.join(' ')}`,
      {
        hint: `sudo ${command}`,
      },
    );
  }
  const install = (): Promise<void> =>
    progress.step(`installing ${missing.join(' ')}`, async (step) => {
      await run('apt-get', ['-o', 'APT::Status-Fd=3', '-q', ...command.split(' ').slice(1)], {
        onStatus: (line) => step.update(statusFraction(line)),
        hint: command,
        signal,
      });
    });
  const updated = await updateIndex({ ...options, unlessNewerThanMs: 24 * 3600 * 1000 });
  try {
    await install();
  } catch (error) {
    if (updated || signal?.aborted) throw error;
    await updateIndex(options); // the archive moved on: packages it no longer has answer "404"
    await install();
  }
}
