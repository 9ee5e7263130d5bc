/** Everything that src/index.ts exports says what it is, and so does everything public in it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = join(import.meta.dirname, '../../src');
const index = readFileSync(join(SRC, 'index.ts'), 'utf8');

interface Exported {
  readonly name: string;
  readonly file: string;
}

const exported: Exported[] = [
  ...index.matchAll(/export (?:type )?\{([^}]*)\} from '\.\/([^']+)\.js'/g),
].flatMap(([, names, file]) =>
  names!
    .split(',')
    .map((name) => name.replace(/^\s*type /, '').trim())
    .filter(Boolean)
    .map((name) => ({ name, file: `${file}.ts` })),
);

/** Line numbers, from 0, of an exported declaration and, for one with a body, of its end. */
function declarationOf({ name, file }: Exported): { lines: string[]; start: number; end: number } {
  const lines = readFileSync(join(SRC, file), 'utf8').split('\n');
  const start = lines.findIndex((line) =>
    new RegExp(`^export (?:abstract )?(?:async )?(?:class|interface|type|function|const) ${name}\\b`).test(
      line,
    ),
  );
  if (start < 0) throw new Error(`${file} does not declare ${name}`);
  return { lines, start, end: lines.indexOf('}', start) };
}

const documented = (lines: readonly string[], at: number): boolean =>
  /\*\/\s*$/.test(lines[at - 1] ?? '') || /\/\/ \S/.test(lines[at] ?? '');

/** Members of a class or interface that a reader meets: not private, not the second accessor of a pair, not overriding. */
const MEMBER = /^ {2}(?:static )?(?:readonly )?(?:async )?(?:get )?(\w+|\[Symbol\.\w+\])[?!]?[(:<]/;

function membersOf(one: Exported): string[] {
  const { lines, start, end } = declarationOf(one);
  return lines.slice(start + 1, end).flatMap((line) => MEMBER.exec(line)?.[1] ?? []);
}

/** What a class has because of an interface is documented where the interface is. */
const ofInterface: Readonly<Record<string, readonly string[]>> = {
  VirtioDevice: membersOf({ name: 'VirtioDevice', file: 'virtio/device.ts' }),
  BlockBackend: membersOf({ name: 'BlockBackend', file: 'devices/blk/backend.ts' }),
  NetBackend: membersOf({ name: 'NetBackend', file: 'devices/net/backend.ts' }),
};

/** @param declaration a class's first line */
const inherited = (declaration: string, member: string): boolean =>
  Object.entries(ofInterface).some(
    ([name, members]) =>
      new RegExp(`\\bimplements .*\\b${name}\\b`).test(declaration) && members.includes(member),
  );

function undocumentedMembers(one: Exported): string[] {
  const { lines, start, end } = declarationOf(one);
  if (!/^export (?:abstract )?(?:class|interface) /.test(lines[start]!)) return [];
  return lines.slice(start + 1, end).flatMap((line, index) => {
    const member = MEMBER.exec(line)?.[1];
    if (member === undefined || member === 'constructor' || inherited(lines[start]!, member)) return [];
    return documented(lines, start + 1 + index) ? [] : [`${one.name}.${member} (${one.file})`];
  });
}

describe('the public API', () => {
  it('is found', () => {
    expect(exported.length).toBeGreaterThan(25);
    expect(exported.map(({ name }) => name)).toContain('VirtualMachine');
  });

  it.each(exported)('$name has a docstring', (one) => {
    const { lines, start } = declarationOf(one);
    expect(documented(lines, start), `${one.file}:${start + 1}`).toBe(true);
  });

  it.each(exported)('$name says of each of its members what it is', (one) => {
    expect(undocumentedMembers(one)).toEqual([]);
  });
});
