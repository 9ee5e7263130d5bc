/** README.md against the code: what it says about options, codes and words must be so. The program in it runs in test/system. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOTFS_OPTIONS } from '../../guest-kernels/rootfs-command.js';
import { EXIT } from '../../src/cli/exit-codes.js';
import { helpText } from '../../src/cli/help.js';
import { OPTIONS } from '../../src/cli/options.js';
import { parseCommandLine } from '../../src/cli/parse.js';
import { parseSubcommand } from '../../src/cli/subcommand.js';
import { SUBCOMMANDS } from '../../src/cli/subcommands.js';
import { parseConfig, type VmConfig } from '../../src/config/schema.js';
import { REASON_CODES } from '../../src/vm/exit-info.js';
import { anchors, codeBlocks, links, quoted, tableRows } from '../support/markdown.js';

const ROOT = join(import.meta.dirname, '../..');
const source = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const readme = source('README.md');
const blocks = codeBlocks(readme);
const commands = blocks
  .filter(({ language }) => language === 'sh')
  .flatMap(({ code }) => code.trim().split('\n'));

describe('the examples of the command', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'typevisor-readme-'));
    const [json] = blocks.filter(({ language }) => language === 'json');
    writeFileSync(join(folder, 'machine.json'), json!.code);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Words as a shell splits them; the guest recipe's output in its place. */
  const wordsOf = (command: string): string[] => {
    const text = command.replace(/\$\(npm run -s guest -- (lean|stock)\)/, '--kernel K --initrd I');
    expect(text).not.toMatch(/[$|;&<>]/); // anything a shell would do beyond splitting
    return [...text.matchAll(/'([^']*)'|(\S+)/g)].map(([, single, bare]) => single ?? bare!);
  };

  it('are there', () => {
    expect(commands.length).toBeGreaterThanOrEqual(7);
  });

  it.each(commands)('%s is a command line that the parser and the schema take', (command) => {
    const [node, script, ...args] = wordsOf(command);
    expect([node, script]).toEqual(['node', 'vmm.js']);
    if (args[0] === 'doctor') {
      expect(args.slice(1).filter((arg) => arg !== '--json')).toEqual([]);
      return;
    }
    if (args[0] === 'inspect') {
      expect(args[1]).toBe('cpu');
      const { config } = parseCommandLine(args.slice(2));
      expect(parseConfig({ ...config, kernel: 'K' } as VmConfig).cpu).toBeDefined();
      return;
    }
    const subcommand = SUBCOMMANDS.find(({ name }) => name === args[0]);
    if (subcommand) {
      expect(parseSubcommand(subcommand, args.slice(1)).operands.length).toBeLessThan(10);
      return;
    }
    const line = parseCommandLine(args.map((arg) => (arg === 'machine.json' ? join(folder, arg) : arg)));
    const config = parseConfig(line.config as VmConfig);
    expect(config.kernel).toBeTypeOf('string');
  });

  it('the configuration file sets what it says', () => {
    const { config } = parseCommandLine(['--config', join(folder, 'machine.json'), '--cpus', '4']);
    expect(parseConfig(config as VmConfig)).toMatchObject({
      kernel: join(folder, 'vmlinux'),
      initrd: join(folder, 'initrd.img'),
      memory: { size: 512 * 2 ** 20, pages: 'transparent' },
      cpus: 4, // the flag wins
      timeouts: { run: 60_000 },
    });
  });

  it('every flag named anywhere is one of a command', () => {
    const named = [...readme.matchAll(/(?<![\w-])--([a-z][a-z-]+)/g)].map(([, flag]) => flag!);
    const options = [...OPTIONS, ...SUBCOMMANDS.flatMap((command) => command.options)];
    const known = [...options.map(({ flag }) => flag), ...Object.keys(ROOTFS_OPTIONS)];
    expect(new Set(named).size).toBeGreaterThan(10);
    expect(named.filter((flag) => !known.includes(flag))).toEqual([]);
  });
});

describe('the tables of results', () => {
  it('has every reason for an end, with its code', () => {
    const rows = tableRows(readme, 'reason', 'meaning', 'code').map(([reason, , code]) => [
      quoted(reason!)[0],
      code,
    ]);
    const real = Object.entries(REASON_CODES).map(([reason, code]) => [
      reason,
      reason === 'exit' ? "the guest's" : String(code),
    ]);
    expect(rows).toEqual(real);
  });

  it('has every code of VmmErrorCode', () => {
    const rows = tableRows(readme, 'code', 'meaning').map(([code]) => quoted(code!)[0]!);
    const declared = /export type VmmErrorCode =(.*?);/s.exec(source('src/base/errors.ts'))![1]!;
    const real = [...declared.matchAll(/'(ERR_\w+)'/g)].map(([, code]) => code!);
    expect(real.length).toBeGreaterThan(10);
    expect(rows.sort()).toEqual(real.sort());
  });

  it('names the error class that each code is thrown as', () => {
    const rows = tableRows(readme, 'code', 'meaning');
    for (const [code, meaning] of rows) {
      for (const name of quoted(meaning!).filter((word) => word.endsWith('Error'))) {
        expect(source('src/base/errors.ts'), code).toContain(`export class ${name} extends VmmError`);
      }
    }
  });

  it('agrees with the help text and the code on exit codes', () => {
    const rows = tableRows(readme, 'exit code', 'meaning').map(([code]) => code!);
    const real = [...Object.values(EXIT), ...Object.values(REASON_CODES), 128 + 2].sort((a, b) => a - b);
    expect(rows).toEqual([...new Set(real)].map(String).concat('128+N'));
    const help = /exit codes: (.*)/s.exec(helpText(1000))![1]!;
    const inHelp = [...help.matchAll(/(?:^|;)\s*(\d+(?:\+N)?) /g)].map(([, code]) => code!);
    expect(inHelp).toEqual(rows);
  });
});

describe('what the text claims', () => {
  it('names only scripts that package.json has', () => {
    const { scripts } = JSON.parse(source('package.json')) as { scripts: Record<string, string> };
    const named = [...readme.matchAll(/npm (?:run (?:-s )?)?([a-z]+)/g)].map(([, name]) => name!);
    expect(named).toContain('rig');
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });

  it('links to files and headings that exist', () => {
    const headings = anchors(readme);
    const broken = links(readme).filter((target) =>
      target.startsWith('#') ? !headings.includes(target) : !existsSync(join(ROOT, target)),
    );
    expect(broken).toEqual([]);
  });

  it('asks of a guest only options that the lean kernel has', () => {
    const wanted = tableRows(readme, 'option', 'for').flatMap(([options]) => quoted(options!));
    const have = source('guest-kernels/lean/config').split('\n');
    expect(wanted.length).toBeGreaterThan(8);
    expect(wanted.filter((option) => !have.includes(option))).toEqual([]);
  });

  it('names exactly the words that are added to a command line', () => {
    const code = source('src/vm/linux-content.ts');
    const words = [
      ...quotedWords(/const DEFAULT_PARAMETERS = \[([^\]]*)\]/.exec(code)![1]!),
      ...quotedWords(/const NO_PCI = (.*);/.exec(code)![1]!),
    ];
    expect(words.length).toBeGreaterThan(4);
    const paragraph = /The monitor adds these words.*?\n\n/s.exec(readme)![0];
    const named = quoted(paragraph).flatMap((text) => text.split(' '));
    expect(named.filter((word) => /[=.]/.test(word)).sort()).toEqual(words.sort());
  });

  it('says the least Node version that package.json says', () => {
    const { engines } = JSON.parse(source('package.json')) as { engines: { node: string } };
    expect(readme).toContain(`Node.js ${engines.node.replace('>=', '')} or newer`);
  });
});

const quotedWords = (text: string): string[] => [...text.matchAll(/'([^']+)'/g)].map(([, word]) => word!);
