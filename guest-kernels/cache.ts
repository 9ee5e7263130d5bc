/**
 * The cache of prepared things: guest kernels, the rig's machine, downloaded packages. It lies outside the repository.
 * An entry is a folder named after its recipe and a SHA-256 of the recipe's declared inputs; it is built in a temporary
 * sibling under a lock and renamed into place, so an entry that exists is whole. The rule for recipes: everything that
 * changes the result is declared, except what the archive offers today, which the manifest records.
 * Runs on: main.
 */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { FileLock } from './file-lock.js';
import { Progress, type ProgressReporter } from './progress.js';

/** What a recipe declares: its result depends on these alone. */
export interface Recipe {
  /** Names the entry's folder: lower case, digits, dots and dashes. */
  readonly name: string;
  /** Plain inputs: series, options, the text of a generated file. */
  readonly inputs?: Readonly<Record<string, string | number | boolean>>;
  /** Input files (configs, patches, the recipe's own source), by content and base name, which must differ. */
  readonly files?: readonly (string | URL)[];
  /** Fills the empty `folder`. Returns what was found on the way (package versions, hashes) for the manifest. */
  build(folder: string, context: BuildContext): Promise<Found>;
}

export interface BuildContext {
  readonly progress: ProgressReporter;
  readonly signal: AbortSignal | undefined;
  /** The cache folder, for what recipes share (downloads). */
  readonly root: string;
}

/** Facts worth recording that are not inputs: `{ package: 'linux-image-…', version: '6.1.…', sha256: '…' }`. */
export type Found = Readonly<Record<string, string | number | boolean>>;

export interface Manifest {
  readonly recipe: string;
  readonly key: string;
  /** ISO 8601 */
  readonly built: string;
  readonly inputs: Readonly<Record<string, string | number | boolean>>;
  /** SHA-256 of each input file, by its base name. */
  readonly files: Readonly<Record<string, string>>;
  readonly found: Found;
  /** Path inside the entry → size in bytes and SHA-256. */
  readonly outputs: Readonly<Record<string, { readonly size: number; readonly sha256: string }>>;
}

export interface CacheEntry {
  readonly folder: string;
  readonly manifest: Manifest;
  /** Whether this call found the entry, rather than built it. */
  readonly hit: boolean;
}

export interface CacheOptions {
  readonly root?: string;
  readonly progress?: ProgressReporter;
  readonly signal?: AbortSignal | undefined;
  /** Build anew even if the entry exists, to follow the archive to newer packages. */
  readonly refresh?: boolean;
}

/** Entries of a recipe that nobody used for so long are removed when that recipe is built again. */
const KEEP_UNUSED_MS = 14 * 24 * 3600 * 1000;

/** $TYPEVISOR_CACHE, else $XDG_CACHE_HOME/typevisor, else ~/.cache/typevisor. */
export function cacheRoot(env: NodeJS.ProcessEnv = process.env): string {
  if (env['TYPEVISOR_CACHE']) return resolve(env['TYPEVISOR_CACHE']);
  return resolve(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'typevisor');
}

/** The recipe's entry, built first if it is not there. Two processes that ask at once build it once. */
export async function cached(recipe: Recipe, options: CacheOptions = {}): Promise<CacheEntry> {
  const { root = cacheRoot(), progress = Progress.silent, signal } = options;
  const declared = declare(recipe);
  const folder = join(root, `${recipe.name}-${declared.key.slice(0, 16)}`);
  const before = options.refresh ? undefined : open(folder);
  if (before) return { folder, manifest: before, hit: true };

  const asked = Date.now();
  await using _lock = await FileLock.acquire(join(root, 'locks', basename(folder)), {
    onWait: (holder) => progress.note(`waiting for ${holder}, which is preparing ${recipe.name}`),
    signal,
  });
  const meanwhile = open(folder);
  const fresh = meanwhile && (!options.refresh || Date.parse(meanwhile.built) > asked);
  if (meanwhile && fresh) return { folder, manifest: meanwhile, hit: true };

  const prefix = `.${basename(folder)}.`;
  removeLeftovers(root, prefix); // of a builder that was killed: the lock says it is gone
  const temporary = mkdtempSync(join(root, prefix));
  try {
    const found = await recipe.build(temporary, { progress, signal, root });
    const { key, inputs, files } = declared;
    const outputs = hashTree(temporary);
    const manifest = {
      recipe: recipe.name,
      key,
      built: new Date().toISOString(),
      inputs,
      files,
      found,
      outputs,
    };
    writeFileSync(join(temporary, MANIFEST), `${JSON.stringify(manifest, undefined, 2)}\n`);
    rmSync(folder, { recursive: true, force: true });
    renameSync(temporary, folder);
    removeUnused(root, recipe.name, folder);
    return { folder, manifest, hit: false };
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** The entry's folder if the recipe is already in the cache; never builds. */
export function lookUp(recipe: Recipe, root = cacheRoot()): CacheEntry | undefined {
  const folder = join(root, `${recipe.name}-${declare(recipe).key.slice(0, 16)}`);
  const manifest = open(folder);
  return manifest && { folder, manifest, hit: true };
}

/** The hex SHA-256 of some bytes. */
export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

const MANIFEST = 'manifest.json';

function declare(recipe: Recipe): Pick<Manifest, 'key' | 'inputs' | 'files'> {
  const inputs = Object.fromEntries(Object.entries(recipe.inputs ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)));
  const files: Record<string, string> = {};
  for (const file of recipe.files ?? []) {
    const name = basename(file.toString());
    if (name in files) throw new Error(`recipe ${recipe.name}: two input files are called ${name}`);
    files[name] = sha256(readFileSync(file));
  }
  return { key: sha256(JSON.stringify([recipe.name, inputs, files])), inputs, files };
}

/** The manifest of a whole entry: its outputs are there at their sizes. A damaged entry counts as absent. */
function open(folder: string): Manifest | undefined {
  const path = join(folder, MANIFEST);
  if (!existsSync(path)) return undefined;
  let manifest: Manifest;
  try {
    manifest = JSON.parse(readFileSync(path, 'utf8')) as Manifest;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  for (const [name, { size }] of Object.entries(manifest.outputs)) {
    if (statSync(join(folder, name), { throwIfNoEntry: false })?.size !== size) return undefined;
  }
  const now = new Date();
  utimesSync(path, now, now); // last use
  return manifest;
}

function hashTree(root: string): Manifest['outputs'] {
  const outputs: Record<string, { size: number; sha256: string }> = {};
  const walk = (folder: string): void => {
    const names = readdirSync(join(root, folder), { withFileTypes: true });
    for (const entry of names.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) walk(path);
      if (!entry.isFile()) continue;
      const bytes = readFileSync(join(root, path));
      outputs[path] = { size: bytes.length, sha256: sha256(bytes) };
    }
  };
  walk('');
  return outputs;
}

function removeLeftovers(root: string, prefix: string): void {
  mkdirSync(root, { recursive: true });
  for (const name of readdirSync(root)) {
    if (name.startsWith(prefix)) rmSync(join(root, name), { recursive: true, force: true });
  }
}

function removeUnused(root: string, recipe: string, except: string): void {
  for (const name of readdirSync(root)) {
    const folder = join(root, name);
    if (
      folder === except ||
      !name.startsWith(`${recipe}-`) ||
      !/^-[0-9a-f]{16}$/.test(name.slice(recipe.length))
    )
      continue;
    const used = statSync(join(folder, MANIFEST), { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (Date.now() - used > KEEP_UNUSED_MS) rmSync(folder, { recursive: true, force: true });
  }
}
