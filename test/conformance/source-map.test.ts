/** src/README.md against the source it describes. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { codeBlocks, quoted, tableRows } from '../support/markdown.js';
import { MAY_IMPORT } from './import-rules.js';

const SRC = join(import.meta.dirname, '../../src');
const map = readFileSync(join(SRC, 'README.md'), 'utf8');

/** Folders and files that the tree drawing names, relative to src. */
function drawnTree(): { folders: string[]; files: string[] } {
  const [tree] = codeBlocks(map);
  const folders: string[] = [];
  const files: string[] = [];
  const open: string[] = [];
  for (const line of tree!.code.split('\n').slice(1)) {
    const branch = /^((?:│ {3}| {4})*)[├└]── (\S+?)(\/?)(?:\s|$)/.exec(line);
    if (branch) {
      const [, indent, name, slash] = branch;
      open.length = indent!.length / 4;
      const path = [...open, name!].join('/');
      if (slash) {
        folders.push(path);
        open.push(name!);
      } else files.push(path);
    } else {
      for (const [name] of line.matchAll(/\S+\.ts/g)) files.push([...open, name].join('/'));
    }
  }
  return { folders, files };
}

describe('the map of the source', () => {
  const { folders, files } = drawnTree();

  it('draws every folder that exists, and no other', () => {
    const real = readdirSync(SRC, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name).slice(SRC.length + 1));
    expect([...folders].sort()).toEqual(real.sort());
  });

  it('names only files that exist', () => {
    expect(files.length).toBeGreaterThan(40);
    expect(files.filter((file) => !existsSync(join(SRC, file)))).toEqual([]);
  });

  it('names in its text only files that exist', () => {
    const text = map.replace(/^```.*?^```$/gms, '');
    const named = quoted(text).filter((word) => /^[\w./-]+\.(ts|cc|md|js)$/.test(word));
    const missing = named.filter((name) => {
      const places = [join(SRC, name), join(dirname(SRC), name)];
      return !places.some((path) => existsSync(path));
    });
    expect(named.length).toBeGreaterThan(25);
    expect(missing).toEqual([]);
  });

  it('has the import table that the import rules enforce', () => {
    const exists = (folder: string): boolean => existsSync(join(SRC, folder));
    const real = Object.entries(MAY_IMPORT)
      .filter(([folder]) => exists(folder))
      .map(([folder, targets]) => [folder, targets.filter(exists).sort()] as const);
    const written = tableRows(map, 'folder', 'may import').map(
      ([folder, targets]) => [quoted(folder!)[0]!, quoted(targets!).sort()] as const,
    );
    expect(Object.fromEntries(written)).toEqual(Object.fromEntries(real));
  });

  it('names in the data path only files that exist', () => {
    const path = codeBlocks(map)[1]!.code;
    const named = [...path.matchAll(/[\w./-]+\.(?:ts|cc)/g)].map(([name]) => name);
    const missing = named.filter(
      (name) => !existsSync(join(SRC, name)) && !existsSync(join(SRC, '..', name)),
    );
    expect(named.length).toBeGreaterThan(8);
    expect(missing).toEqual([]);
  });
});
