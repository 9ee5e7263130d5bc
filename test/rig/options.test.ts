import { describe, expect, test } from 'vitest';
import { parseCommandLine, UsageError } from './options.js';

describe('the rig command line', () => {
  test('leaves the options behind the command to the command', () => {
    const line = parseCommandLine(['--timeout', '5', 'node', '--verbose', '-e', '1', '--', '--rw']);
    expect(line.command).toEqual(['node', '--verbose', '-e', '1', '--', '--rw']);
    expect(line).toMatchObject({ timeout: 5, verbose: false, rw: [] });
  });

  test('takes everything after -- as the command', () => {
    expect(parseCommandLine(['--tty', '--', '--odd', 'x']).command).toEqual(['--odd', 'x']);
  });

  test('has no time limit for a terminal unless one is given', () => {
    expect(parseCommandLine(['--tty', 'sh']).timeout).toBe(0);
    expect(parseCommandLine(['--tty', '--timeout', '9', 'sh']).timeout).toBe(9);
    expect(parseCommandLine(['sh']).timeout).toBe(300);
  });

  test('splits a variable at its first equals sign', () => {
    expect(parseCommandLine(['--env', 'A=b=c', '--env=EMPTY=', 'sh']).env).toEqual({ A: 'b=c', EMPTY: '' });
  });

  test.each([
    [['--nosuch', 'sh'], /--nosuch/],
    [['--timeout', 'soon', 'sh'], /--timeout soon/],
    [['--memory', '1', 'sh'], /--memory 1/],
    [['--kernel', '5.4', 'sh'], /--kernel 5\.4/],
    [['--env', 'A', 'sh'], /--env A/],
    [['--stdin'], /command is missing/],
  ])('refuses %j and names the part that is wrong', (args, message) => {
    expect(() => parseCommandLine(args)).toThrow(UsageError);
    expect(() => parseCommandLine(args)).toThrow(message);
  });
});
