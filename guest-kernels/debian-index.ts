/**
 * What the Debian archive offers, as apt's own package index on this machine says it. Versions leave the archive when
 * newer ones come, so nothing is pinned: a recipe asks for the newest package whose name matches.
 * Runs on: main.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { run, runText } from './command.js';
import { compareVersions } from './debian-version.js';
import { Progress, type ProgressReporter } from './progress.js';
import { RecipeError } from './recipe-error.js';

export interface DebianOptions {
  readonly progress?: ProgressReporter;
  readonly signal?: AbortSignal | undefined;
}

/** One version of one binary package in the archive. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** bytes */
  readonly size: number;
  /** hex, from the signed index */
  readonly sha256: string;
}

/** Where apt keeps the package index. */
const LISTS = '/var/lib/apt/lists';

/**
 * The newest version of the package called `name`, or of those whose whole name matches; when several names have the
 * same version, the last in alphabetical order. Updates apt's index if it does not know any.
 * @throws RecipeError if the archive has none
 */
export async function newestPackage(
  name: string | RegExp,
  options: DebianOptions = {},
): Promise<DebianPackage> {
  const known = await newestKnown(name, options);
  if (known) return known;
  await updateIndex(options);
  const found = await newestKnown(name, options);
  if (found) return found;
  throw new RecipeError(`the package archive has no ${name}`, {
    hint: 'check the suites in /etc/apt/sources.list and run: apt-get update',
  });
}

/** As `newestPackage`, from the index as it is; undefined if it knows none. */
export async function newestKnown(
  name: string | RegExp,
  options: DebianOptions = {},
): Promise<DebianPackage | undefined> {
  const names = typeof name === 'string' ? [name] : await namesMatching(name, options);
  if (names.length === 0) return undefined;
  // Status 100: it has none of them, which is an answer.
  const text = await runText('apt-cache', ['show', '--', ...names], {
    accept: [100],
    signal: options.signal,
  });
  return packagesIn(text)[0];
}

async function namesMatching(pattern: RegExp, options: DebianOptions): Promise<string[]> {
  const whole = new RegExp(`^(?:${pattern.source})$`, pattern.flags);
  const names = await runText('apt-cache', ['pkgnames', literalPrefix(pattern)], { signal: options.signal });
  return names.split('\n').filter((name) => whole.test(name));
}

/** What every name that matches starts with: asking apt for these alone is quicker than for all. */
export function literalPrefix(pattern: RegExp): string {
  if (pattern.source.includes('|')) return ''; // one of several
  // Characters that stand for themselves, escaped or not; the last one only if no quantifier follows.
  const [literal = ''] = /^(?:[a-z0-9-]|\\[.+](?![a-z]))*/.exec(pattern.source.replace(/^\^/, '')) ?? [];
  const rest = pattern.source.replace(/^\^/, '').slice(literal.length);
  const sure = /^[?*{]/.test(rest) ? literal.replace(/(?:\\.|.)$/, '') : literal;
  return sure.replaceAll('\\', '');
}

/** The packages that the stanzas of a package index describe, newest first. */
export function packagesIn(text: string): DebianPackage[] {
  return parseStanzas(text).flatMap(packageOf).sort(newestFirst);
}

function newestFirst(a: DebianPackage, b: DebianPackage): number {
  return compareVersions(b.version, a.version) || (a.name < b.name ? 1 : -1);
}

/**
 * Runs `apt-get update`, once: not again in this process, nor if the index is younger than `unlessNewerThanMs`.
 * Without the right to, it does nothing; the index is then used as it is. Returns whether it ran.
 */
export async function updateIndex(
  options: DebianOptions & { readonly unlessNewerThanMs?: number } = {},
): Promise<boolean> {
  const { progress = Progress.silent, unlessNewerThanMs = 0 } = options;
  if (updatedHere || process.getuid?.() !== 0 || indexAge() < unlessNewerThanMs) return false;
  await progress.step('updating the package index', async () => {
    await run('apt-get', ['update', '-q'], {
      hint: 'the package archive must be reachable for the first run; later runs use the cache',
      signal: options.signal,
    });
  });
  updatedHere = true;
  return true;
}

let updatedHere = false;

/** Time since apt's index was last written, ms; Infinity if there is none. */
function indexAge(): number {
  if (!existsSync(LISTS)) return Number.POSITIVE_INFINITY;
  const indexes = readdirSync(LISTS).filter(
    (name) => name.includes('_Packages') || name.endsWith('InRelease'),
  );
  if (indexes.length === 0) return Number.POSITIVE_INFINITY;
  // An unchanged InRelease keeps the archive's date, `partial` gets a new one with every update.
  const touched = ['partial', ...indexes].map(
    (name) => statSync(join(LISTS, name), { throwIfNoEntry: false })?.mtimeMs ?? 0,
  );
  return Date.now() - Math.max(...touched);
}

/** The stanzas of a Debian control file: field → value, continuation lines joined by newlines. */
export function parseStanzas(text: string): ReadonlyMap<string, string>[] {
  const stanzas: Map<string, string>[] = [];
  for (const block of text.split(/\n\s*\n/)) {
    const stanza = new Map<string, string>();
    let field = '';
    for (const line of block.split('\n')) {
      const [, name, value] = /^([^\s:]+):\s*(.*)$/.exec(line) ?? [];
      if (name !== undefined && value !== undefined) stanza.set((field = name), value);
      else if (field !== '' && line !== '') stanza.set(field, `${stanza.get(field)}\n${line.trim()}`);
    }
    if (stanza.size > 0) stanzas.push(stanza);
  }
  return stanzas;
}

/** Nothing for a stanza that cannot be downloaded (a package that is only installed here). */
function packageOf(stanza: ReadonlyMap<string, string>): DebianPackage[] {
  const [name, version, architecture, size, sha256] = [
    'Package',
    'Version',
    'Architecture',
    'Size',
    'SHA256',
  ].map((field) => stanza.get(field));
  if (!name || !version || !architecture || !size || !sha256) return [];
  return [{ name, version, architecture, size: Number(size), sha256 }];
}
