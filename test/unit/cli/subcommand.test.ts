/** `ls`, `exec`, `cp` and `stop`: their command lines, their help, and what they refuse. */
import { describe, expect, it } from 'vitest';
import { parsePlace } from '../../../src/cli/cp.js';
import { environment } from '../../../src/cli/exec.js';
import { upFor } from '../../../src/cli/ls.js';
import { parseCommandLine } from '../../../src/cli/parse.js';
import { milliseconds, parseSubcommand, printable, subcommandHelp } from '../../../src/cli/subcommand.js';
import { EXEC, LS, STOP, SUBCOMMANDS } from '../../../src/cli/subcommands.js';

describe('a subcommand', () => {
  it('has options and operands in any order', () => {
    const { given, operands } = parseSubcommand(STOP, ['web', '--timeout', '5', '-f', 'db']);
    expect(operands).toEqual(['web', 'db']);
    expect([...given]).toEqual([
      ['timeout', ['5']],
      ['force', ['']],
    ]);
  });

  it('leaves what belongs to a program alone', () => {
    for (const line of [
      ['-T', '-e', 'A=1', 'web', '--', 'ls', '-l', '--'],
      ['-T', '-e', 'A=1', 'web', 'ls', '-l', '--'],
    ]) {
      const { given, operands } = parseSubcommand(EXEC, line);
      expect(operands.filter((word) => word !== '--')).toEqual(['web', 'ls', '-l']);
      expect(operands.at(-1)).toBe('--');
      expect(given.get('env')).toEqual(['A=1']);
    }
  });

  it.each([
    [['--jso'], 'unknown option --jso', 'did you mean --json? try ls --help'],
    [['--zzzzzz'], 'unknown option --zzzzzz', 'try ls --help'],
    [['--json=1'], '--json takes no value', 'try ls --help'],
  ])('refuses %j', (args, message, hint) => {
    expect(() => parseSubcommand(LS, args)).toThrow(expect.objectContaining({ message, hint }));
  });

  it.each([['--timeout'], ['--timeout=']])('wants a value for %s', (arg) => {
    expect(() => parseSubcommand(STOP, ['web', arg])).toThrow('--timeout needs a value: --timeout SECONDS');
  });

  it.each(SUBCOMMANDS)('$name tells all of its options, and has examples that are right', (command) => {
    const help = subcommandHelp(command).replace(/\s+/g, ' ');
    for (const { flag, text } of command.options) {
      expect(help).toContain(`--${flag} `);
      expect(help).toContain(text);
    }
    expect(command.examples.length).toBeGreaterThan(0);
    for (const example of command.examples) {
      const [name, ...words] = example.split(' ');
      expect(name).toBe(command.name);
      expect(() => parseSubcommand(command, words)).not.toThrow();
    }
  });
});

describe('values', () => {
  const timeout = (text: string) => milliseconds(new Map([['timeout', [text]]]), 'timeout', 1);
  it('are seconds', () => {
    expect([timeout('0'), timeout('1.5'), timeout('86400')]).toEqual([0, 1500, 86_400_000]);
    expect(milliseconds(new Map(), 'timeout', 1)).toBe(1);
  });
  it.each(['', ' ', '-1', '86401', 'x', 'NaN', 'Infinity'])('%j is no number of seconds', (text) => {
    expect(() => timeout(text)).toThrow('is no number of seconds');
  });

  it('set variables, with our value where there is none', () => {
    const ours = { HOME: '/root', EMPTY: '' };
    expect(environment(['A=1', 'B=', 'C=x=y', 'HOME', 'EMPTY', 'NONE', 'A=2'], ours)).toEqual({
      ...{ A: '2', B: '', C: 'x=y', HOME: '/root', EMPTY: '' },
    });
    expect(() => environment(['=1'])).toThrow('--env: "=1" has no name');
  });

  it('are times people read', () => {
    expect([0, 119_999, 120_000, 7_200_000, 172_800_000, -5].map(upFor)).toEqual([
      '0s',
      '119s',
      '2m',
      '2h',
      '2d',
      '0s',
    ]);
  });

  it('have nothing that a terminal obeys', () => {
    expect(printable('a\u001b[31m\nb\u009bc')).toBe('a?[31m?b?c');
  });
});

describe('a place to copy from or to', () => {
  it.each([
    ['web:/etc', 'web', '/etc'],
    ['web:/a:b', 'web', '/a:b'],
    ['file', undefined, 'file'],
    ['-', undefined, '-'],
    ['./a:b', undefined, './a:b'],
    ['/a:b', undefined, '/a:b'],
  ])('%s', (text, name, path) => expect(parsePlace(text)).toEqual({ name, path }));

  it.each(['', 'web:', 'web:etc', 'a:b'])('%j is none', (text) => {
    expect(() => parsePlace(text)).toThrow(/path/);
  });
});

describe('--name', () => {
  const line = (...args: string[]) => parseCommandLine(['--kernel', 'K', ...args]);
  it('brings the agent, to a guest that can have one and was not told otherwise', () => {
    expect(line('--name', 'web')).toMatchObject({
      named: true,
      agentForName: true,
      config: { name: 'web', agent: true },
    });
    expect(line('--name', 'web', '--agent')).toMatchObject({ agentForName: false, config: { agent: true } });
    expect(line('--name', 'web', '--no-agent')).toMatchObject({
      agentForName: false,
      config: { agent: false },
    });
    expect(line('--name', 'web', '--', 'true')).toMatchObject({ named: true, agentForName: false });
    expect(parseCommandLine(['--flat', 'F', '--name', 'web']).config).not.toHaveProperty('agent');
    expect(line()).toMatchObject({ named: false, agentForName: false });
  });

  it('does not go with both', () => {
    expect(() => line('--agent', '--no-agent')).toThrow('--agent and --no-agent: one of them');
    expect(() => line('--no-agent', '--', 'true')).toThrow('-- COMMAND and --no-agent: one of them');
  });
});
