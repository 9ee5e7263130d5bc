import { describe, expect, it } from 'vitest';
import { EXIT } from '../../../src/cli/exit-codes.js';
import { helpText } from '../../../src/cli/help.js';
import { COMMAND_OPTIONS, MACHINE_OPTIONS, OPTIONS } from '../../../src/cli/options.js';
import { parseCommandLine } from '../../../src/cli/parse.js';
import { optionHelp, schema } from '../../../src/index.js';

describe('the options of the command', () => {
  it('are those of the schema, each once', () => {
    const keys = Object.entries(schema.shape).flatMap(([key, type]) => (optionHelp.has(type) ? [key] : []));
    expect(MACHINE_OPTIONS.map(({ key }) => key)).toEqual(keys);
    const flags = OPTIONS.map(({ flag }) => flag);
    expect(new Set(flags).size).toBe(flags.length);
    const letters = OPTIONS.flatMap(({ short }) => short ?? []);
    expect(new Set(letters).size).toBe(letters.length);
  });

  it('are written in kebab case', () => {
    expect(OPTIONS.filter(({ flag }) => !/^[a-z]+(-[a-z]+)*$/.test(flag))).toEqual([]);
    expect(MACHINE_OPTIONS.find(({ key }) => key === 'hostCheck')?.flag).toBe('host-check');
  });

  it('are all understood', () => {
    for (const { flag, value, key } of MACHINE_OPTIONS) {
      const { config } = parseCommandLine(value ? [`--${flag}`, '1'] : [`--${flag}`]);
      expect(Object.keys(config), flag).toContain(key);
    }
    for (const { flag, value } of COMMAND_OPTIONS) {
      if (!value) expect(() => parseCommandLine([`--${flag}`])).not.toThrow();
    }
  });
});

describe('the help text', () => {
  const text = helpText();

  it('has every option with its value and its text', () => {
    const flat = text.replace(/\s+/g, ' ');
    for (const { flag, short, value, text: words } of OPTIONS) {
      expect(flat).toContain(` ${short ? `-${short}, ` : ''}--${flag} ${value ? `${value} ` : ''}${words}`);
    }
  });

  it('fits the terminal, wide or narrow', () => {
    const longest = (lines: string): number => Math.max(...lines.split('\n').map((line) => line.length));
    const options = (width: number): string =>
      helpText(width).split('The machine:')[1]!.split('exit codes:')[0]!;
    // Names and values are not broken: only what is behind them.
    const names = Math.max(...OPTIONS.map(({ flag, value }) => `      --${flag} ${value ?? ''}`.length));
    expect(longest(options(80))).toBeLessThanOrEqual(Math.max(80, names));
    expect(longest(options(120))).toBeLessThanOrEqual(120);
    expect(options(40).split('\n').length).toBeGreaterThan(options(120).split('\n').length);
  });

  it('tells the exit codes', () => {
    const codes = text.slice(text.indexOf('exit codes:'));
    for (const code of Object.values(EXIT)) expect(codes).toMatch(new RegExp(`\\b${code} `));
    for (const code of [71, 72, 124, 130]) expect(codes).toMatch(new RegExp(`\\b${code} `));
  });
});
