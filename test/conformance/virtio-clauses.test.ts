/** Every section of the virtio specification that the code cites exists there. The list is of v1.2-cs01's headings. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const SECTIONS = new Set(
  readFileSync(join(import.meta.dirname, 'virtio-1.2-sections.txt'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split('\t')[0]!),
);

interface Citation {
  readonly line: number;
  readonly section: string;
}

/**
 * Citations in a file: `virtio 1.2 §2.7.5` anywhere; a bare `§2.7.5` where the file's header names virtio 1.2, unless another
 * document's name stands before it.
 */
function citationsIn(text: string): Citation[] {
  const header = /^\/\*\*.*?\*\//s.exec(text)?.[0] ?? '';
  const bare = /virtio 1\.2/.test(header);
  return text.split('\n').flatMap((content, index) =>
    [...content.matchAll(/(.*?)§(\d+(?:\.\d+)*)/g)].flatMap(([, before, section]) => {
      const named = /virtio 1\.2 (?:and )?$/.test(before!);
      const foreign =
        /(?:SDM|APM|ACPI|Policy|data sheet|vol\. \d|Specification|boot\.rst|api\.rst)[^;()]*$/.test(before!);
      return named || (bare && !foreign) ? [{ line: index + 1, section: section! }] : [];
    }),
  );
}

const files = ['src', 'test', 'native'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|cc|h)$/.test(name) && !name.startsWith('build/'))
    .map((name) => join(folder, name)),
);

describe('citations of virtio 1.2', () => {
  it('are looked up in a list of all its sections', () => {
    expect(SECTIONS.size).toBeGreaterThan(600);
    expect(SECTIONS.has('2.7.5.3.1')).toBe(true);
    expect(SECTIONS.has('2.7.99')).toBe(false);
  });

  it('are found in full, in short under a header that names virtio, and not for other documents', () => {
    const header = '/** Split queues (virtio 1.2 §2.7). */\n';
    const sections = (text: string): string[] => citationsIn(text).map(({ section }) => section);
    expect(sections(`${header}// §2.7.5.2 and §9.9; SDM vol. 3 §4.5`)).toEqual(['2.7', '2.7.5.2', '9.9']);
    expect(sections('/** A UART. */\n// §8.4\n// virtio 1.2 §5.2.6')).toEqual(['5.2.6']);
  });

  it('all exist', () => {
    const wrong = files
      .filter((file) => !file.endsWith('virtio-clauses.test.ts'))
      .flatMap((file) =>
        citationsIn(readFileSync(join(ROOT, file), 'utf8'))
          .filter(({ section }) => !SECTIONS.has(section))
          .map(({ line, section }) => `${file}:${line} cites §${section}`),
      );
    expect(wrong).toEqual([]);
  });
});
