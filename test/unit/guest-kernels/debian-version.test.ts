/** Debian's order of versions; dpkg itself is the referee. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { compareVersions } from '../../../guest-kernels/debian-version.js';

/** Each older than the next. */
const ASCENDING = [
  '0~',
  '0',
  '0.1',
  '1~~',
  '1~~a',
  '1~',
  '1~rc1-1',
  '1',
  '1-1~bpo1',
  '1-1',
  '1-1+b1',
  '1-1.1',
  '1-2',
  '1-10',
  '1a',
  '1b',
  '1+',
  '1+a',
  '1-1-1',
  '1.0',
  '1.0.0',
  '1.2',
  '1.10',
  '1.10a',
  '1.35.0-4',
  '6.1.9-1',
  '6.1.99-1~deb12u1',
  '6.1.99-1',
  '6.1.192-2',
  '6.12.1-1',
  '6.12.117+deb12-1',
  '12345678901234567890',
  '12345678901234567891',
  '1:0.1',
  '1:1.35.0-4+deb12u1+b1',
  '2:0',
  '10:0',
];
/** Pairs that are the same version. */
const EQUAL: readonly (readonly [string, string])[] = [
  ['1', '1-0'],
  ['0:1', '1'],
  ['1.01', '1.1'],
  ['1.0-00', '1.0'],
  ['1.00a', '1.0a'],
];

/** What dpkg says of `a relation b`, a line each. */
function dpkg(questions: readonly string[]): string[] {
  const ask = 'while read -r a is b; do dpkg --compare-versions "$a" "$is" "$b" && echo yes || echo no; done';
  const { stdout } = spawnSync('sh', ['-c', ask], { input: `${questions.join('\n')}\n`, encoding: 'utf8' });
  return stdout.trim().split('\n');
}

describe('compareVersions', () => {
  it('orders every pair of a list as it stands, both ways round', () => {
    for (const [i, a] of ASCENDING.entries()) {
      for (const [j, b] of ASCENDING.entries()) {
        expect(Math.sign(compareVersions(a, b)), `${a} and ${b}`).toBe(Math.sign(i - j));
      }
    }
  });

  it('orders that list as dpkg does', () => {
    const questions = ASCENDING.slice(1).map((newer, index) => `${ASCENDING[index]} lt ${newer}`);
    const answers = dpkg(questions);
    expect(answers).toHaveLength(questions.length);
    expect(questions.filter((_, index) => answers[index] !== 'yes')).toEqual([]);
  });

  it.each(EQUAL)('says as dpkg does that %s equals %s', (a, b) => {
    expect(dpkg([`${a} eq ${b}`])).toEqual(['yes']);
    expect(compareVersions(a, b)).toBe(0);
    expect(compareVersions(b, a)).toBe(0);
  });
});
