/**
 * Downloads Debian packages into the cache and unpacks them, without installing them. What is kept was checked against
 * the SHA-256 in apt's signed index, when it came and each time it is used.
 * Runs on: main.
 */

import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { statusFraction } from './apt-status.js';
import { cacheRoot } from './cache.js';
import { run } from './command.js';
import {
  type DebianOptions,
  type DebianPackage,
  newestKnown,
  newestPackage,
  updateIndex,
} from './debian-index.js';
import { Progress } from './progress.js';
import { RecipeError } from './recipe-error.js';

export interface FetchOptions extends DebianOptions {
  /** The cache folder. */
  readonly root?: string;
}

/** A downloaded package. */
export interface FetchedPackage extends DebianPackage {
  /** The .deb file, in the cache. */
  readonly path: string;
}

/**
 * The newest package that matches, downloaded unless the cache has it. If the archive no longer has the version that
 * apt's index names, the index is updated and the newest version is looked up again.
 * @throws RecipeError if the archive has none or cannot be reached
 */
export async function fetchNewest(
  name: string | RegExp,
  options: FetchOptions = {},
): Promise<FetchedPackage> {
  const wanted = await newestPackage(name, options);
  try {
    return await fetchPackage(wanted, options);
  } catch (error) {
    if (options.signal?.aborted || !(await updateIndex(options))) throw error;
    const newer = await newestKnown(name, options);
    if (!newer || newer.version === wanted.version) throw error;
    return fetchPackage(newer, options);
  }
}

/** Downloads one version of a package unless the cache has it. @throws RecipeError */
export async function fetchPackage(
  wanted: DebianPackage,
  options: FetchOptions = {},
): Promise<FetchedPackage> {
  return (await fetchPackages([wanted], options))[0]!;
}

/** The same for several packages, in their order; what the cache lacks comes in one go. @throws RecipeError */
export async function fetchPackages(
  wanted: readonly DebianPackage[],
  options: FetchOptions = {},
): Promise<FetchedPackage[]> {
  const folder = join(options.root ?? cacheRoot(), 'packages');
  const fetched = wanted.map((entry): FetchedPackage => ({ ...entry, path: join(folder, fileName(entry)) }));
  const missing: FetchedPackage[] = [];
  for (const entry of fetched) {
    if (!existsSync(entry.path) || (await hashFile(entry.path)) !== entry.sha256) missing.push(entry);
  }
  if (missing.length > 0) await download(missing, folder, options);
  return fetched;
}

async function download(
  missing: readonly FetchedPackage[],
  folder: string,
  { progress = Progress.silent, signal }: FetchOptions,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const temporary = mkdtempSync(join(folder, '.download-'));
  const [first] = missing;
  const what = missing.length === 1 ? `${first!.name} ${first!.version}` : `${missing.length} packages`;
  const size = megabytes(missing.reduce((sum, entry) => sum + entry.size, 0));
  try {
    await progress.step(`downloading ${what}`, async (step) => {
      // The sandbox user may not write into the cache; the download is verified, twice, whoever makes it.
      const apt = ['-o', 'APT::Sandbox::User=root', '-o', 'APT::Status-Fd=3', '-q', 'download'];
      await run('apt-get', [...apt, ...missing.map(({ name, version }) => `${name}=${version}`)], {
        cwd: temporary,
        onStatus: (line) => step.update(statusFraction(line), `of ${size}`),
        hint: 'the package archive must be reachable; if its versions moved on, run: apt-get update',
        signal,
      });
    });
    const files = readdirSync(temporary);
    for (const { name, version, sha256, path } of missing) {
      const file = files.find((entry) => entry.startsWith(`${name}_`));
      if (!file) throw new RecipeError(`apt-get download ${name} left no file`);
      const got = await hashFile(join(temporary, file));
      if (got !== sha256) {
        throw new RecipeError(`${name} ${version}: SHA-256 is ${got}, the index says ${sha256}`);
      }
      renameSync(join(temporary, file), path);
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

const fileName = ({ name, version, architecture }: DebianPackage): string =>
  `${name}_${version.replaceAll(':', '%3a')}_${architecture}.deb`;

/** Unpacks the files of a .deb into `folder`, as the package would install them below `/`. */
export async function unpackPackage(
  path: string,
  folder: string,
  options: DebianOptions = {},
): Promise<void> {
  await run('dpkg-deb', ['-x', path, folder], { signal: options.signal });
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
