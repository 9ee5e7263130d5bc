/**
 * A Debian system that boots: the packages of this machine's suite, unpacked and set up without running any of their scripts,
 * as a tar archive for rootfs.ts. Nobody needs to be root for it. There is no record of installed packages in it: it is built
 * anew, from newer packages, rather than upgraded.
 * Runs on: main.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './command.js';
import { packageClosure } from './debian-closure.js';
import { type FetchedPackage, type FetchOptions, fetchPackages } from './debian-fetch.js';
import { updateIndex } from './debian-index.js';
import { ensureInstalled } from './debian-install.js';
import { Progress } from './progress.js';
import { RecipeError } from './recipe-error.js';

/** What a machine needs to boot, to be logged in to, and to reach its network. */
const PACKAGES = [
  ...['?essential', 'usr-is-merged', 'systemd-sysv', 'udev', 'dbus', 'systemd-resolved'],
  ...['login', 'passwd', 'mount', 'kmod', 'procps', 'iproute2', 'ca-certificates'],
];
const SETUP = fileURLToPath(new URL('./debian-root/setup.sh', import.meta.url));
const FILES = fileURLToPath(new URL('./debian-root/files', import.meta.url));
/** What else decides how the system looks, beside this file and the archive. */
export const SETUP_SOURCES: readonly string[] = [
  SETUP,
  ...readdirSync(FILES, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name)),
];
/** Its index, when younger than this, is good enough, ms. */
const FRESH = 24 * 3600 * 1000;

export interface DebianRootOptions extends FetchOptions {
  /** More packages, which come with what they depend on. */
  readonly include?: readonly string[];
}

/** What `withDebianRoot` made. */
export interface DebianRoot {
  /** A tar archive of the whole tree. */
  readonly archive: string;
  readonly packages: readonly FetchedPackage[];
}

/**
 * Builds the archive and hands it to `use`; it is gone when that returns. The packages stay in the cache.
 * @throws RecipeError when a package is missing or cannot be fetched
 */
export async function withDebianRoot<T>(
  options: DebianRootOptions,
  use: (root: DebianRoot) => Promise<T>,
): Promise<T> {
  const { include = [], progress = Progress.silent, signal } = options;
  const asRoot = process.getuid?.() === 0;
  if (!asRoot)
    await ensureInstalled(['fakeroot'], { progress, signal, reason: 'unpacking as somebody else than root' });
  await updateIndex({ progress, signal, unlessNewerThanMs: FRESH });
  const packages = await fetchAll([...PACKAGES, ...include], { ...options, progress });
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-debian-'));
  try {
    const archive = join(folder, 'root.tar');
    await progress.step(`unpacking ${packages.length} packages`, async () => {
      const script =
        'sh "$1" "$2/root" "$3" && tar -c --numeric-owner -f "$4" -C "$2/root" . && rm -rf "$2/root"';
      const command = ['sh', '-c', script, 'sh', SETUP, folder, FILES, archive];
      const [file, ...args] = asRoot ? command : ['fakeroot', '--', ...command];
      await run(file!, args, {
        signal,
        input: Buffer.from(packages.map(({ path }) => `${path}\n`).join('')),
      });
    });
    return await use({ archive, packages });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function fetchAll(wanted: readonly string[], options: FetchOptions): Promise<FetchedPackage[]> {
  const attempt = async (): Promise<FetchedPackage[]> =>
    fetchPackages(await packageClosure(wanted, options), options);
  try {
    return await attempt();
  } catch (error) {
    // Versions leave the archive when newer ones come.
    const again = error instanceof RecipeError && !options.signal?.aborted && (await updateIndex(options));
    if (!again) throw error;
    return attempt();
  }
}
