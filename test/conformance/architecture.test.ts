/** The import rules of src/README.md as a test: the tree is the data path, and nobody reaches around it. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MAY_IMPORT } from './import-rules.js';

const SRC = join(import.meta.dirname, '../../src');

/** Who may import from outside the language and zod. */
const NODE_ALLOWED = new Set(['host', 'backends', 'agent', 'control', 'snapshot', 'vm', 'cli']);

interface Import {
  readonly file: string;
  readonly folder: string;
  readonly specifier: string;
  readonly target: string;
}

const folderOf = (path: string): string => {
  const [first, ...rest] = relative(SRC, path).split('/');
  return rest.length > 0 ? first! : '.';
};

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => join(SRC, name));

const imports: Import[] = files.flatMap((path) =>
  [...readFileSync(path, 'utf8').matchAll(/(?:from|import|import\()\s*'([^']+)'/g)].map(([, specifier]) => ({
    file: relative(SRC, path),
    folder: folderOf(path),
    specifier: specifier!,
    target: specifier!.startsWith('.') ? folderOf(join(dirname(path), specifier!)) : '',
  })),
);

describe('imports in src', () => {
  it('finds the code', () => {
    expect(files.length).toBeGreaterThan(20);
    expect(imports.length).toBeGreaterThan(50);
  });

  it('names every folder in the table', () => {
    expect([...new Set(files.map(folderOf))].filter((folder) => !(folder in MAY_IMPORT))).toEqual([]);
  });

  it('follows the table', () => {
    const wrong = imports.filter(
      ({ folder, target, specifier }) =>
        specifier.startsWith('.') &&
        target !== folder &&
        target !== 'base' &&
        !(MAY_IMPORT[folder] ?? []).includes(target),
    );
    expect(wrong.map(({ file, specifier }) => `${file} imports ${specifier}`)).toEqual([]);
  });

  it('is a DAG', () => {
    const visit = (folder: string, path: readonly string[]): void => {
      expect(path).not.toContain(folder);
      for (const next of MAY_IMPORT[folder] ?? []) visit(next, [...path, folder]);
    };
    for (const folder of Object.keys(MAY_IMPORT)) visit(folder, []);
  });

  it('reaches koffi only in host/libc.ts and the addon only in host/addon.ts', () => {
    expect([
      ...new Set(imports.filter(({ specifier }) => specifier === 'koffi').map(({ file }) => file)),
    ]).toEqual(['host/libc.ts']);
    const users = files.filter((path) => readFileSync(path, 'utf8').includes('typevisor.node'));
    expect(users.map((path) => relative(SRC, path))).toEqual(['host/addon.ts']);
  });

  it('leaves node: modules to the folders that face the host', () => {
    const wrong = imports.filter(
      ({ folder, specifier }) => specifier.startsWith('node:') && !NODE_ALLOWED.has(folder),
    );
    expect(wrong.map(({ file, specifier }) => `${file} imports ${specifier}`)).toEqual([]);
  });

  it('uses no package but koffi, zod, zstddec, dns-packet and ipaddr.js', () => {
    const packages = imports
      .map(({ specifier }) => specifier)
      .filter((s) => !s.startsWith('.') && !s.startsWith('node:'));
    expect(
      [...new Set(packages)].filter(
        (name) => !['dns-packet', 'ipaddr.js', 'koffi', 'zod/mini', 'zstddec'].includes(name),
      ),
    ).toEqual([]);
  });

  it('has no barrel, no default export and no file over 400 lines', () => {
    for (const path of files) {
      const text = readFileSync(path, 'utf8');
      expect(text, path).not.toMatch(/^export default/m);
      if (relative(SRC, path) !== 'index.ts') expect(relative(SRC, path)).not.toMatch(/(^|\/)index\.ts$/);
      if (!path.endsWith('abi.ts')) expect(text.split('\n').length, path).toBeLessThanOrEqual(400);
    }
  });
});
