/** Command lines of random words, quotes and blanks: adding parameters adds them, and loses nothing. */
import { it } from 'vitest';
import { ConfigError } from '../../src/base/errors.js';
import { addParameters, encodeCmdline, hasParameter } from '../../src/boot/cmdline.js';
import { FUZZ_LIMIT, fuzz } from '../support/fuzz.js';
import type { Random } from '../support/random.js';

const PIECES = [
  'a',
  'root=/dev/vda',
  'x-y',
  'x_y=1',
  '"',
  '"b c"',
  'd="e  f"',
  ' ',
  '  ',
  '\t',
  '\n',
  '=',
  '--',
  '-',
  'ä',
  '\u0000',
  '.',
];

function someLine(random: Random): string {
  return Array.from({ length: random.below(20) }, () => random.pick(PIECES)).join(random.pick(['', ' ']));
}

/** The kernel's own way (lib/cmdline.c, next_arg): a character at a time, a quote toggles. */
function kernelWords(line: string): string[] {
  const words: string[] = [];
  let word = '';
  let quoted = false;
  for (const char of line) {
    if (!quoted && ' \t\n\r\v\f'.includes(char)) {
      if (word) words.push(word);
      word = '';
    } else {
      if (char === '"') quoted = !quoted;
      word += char;
    }
  }
  return word ? [...words, word] : words;
}
const equal = (a: readonly string[], b: readonly string[]): boolean =>
  JSON.stringify(a) === JSON.stringify(b);

it('command lines', { timeout: FUZZ_LIMIT }, async () => {
  await fuzz({ rounds: 4000, seed: 0xc0de }, (random) => {
    const line = someLine(random);
    const words = kernelWords(line);
    // A quote that is never closed takes what follows with it, for the kernel as well.
    const open = (line.split('"').length - 1) % 2 === 1;
    const end = words.indexOf('--');
    const kernel = end < 0 ? words : words.slice(0, end);

    if (!equal(kernelWords(addParameters(line, [])), words))
      throw new Error(`changed: ${JSON.stringify(line)}`);
    const added = addParameters(line, ['added=1', 'other']);
    if (!open) {
      const wanted = [...kernel, 'added=1', 'other', ...words.slice(kernel.length)];
      if (!equal(kernelWords(added), wanted)) throw new Error(`added: ${JSON.stringify(line)}`);
      if (!hasParameter(added, 'added')) throw new Error(`not found: ${JSON.stringify(added)}`);
    }
    const name = random.pick(['a', 'root', 'x_y', 'd', 'e', 'b']);
    const found = kernel.some((word) => word.replace(/^"/, '').split('=')[0]!.replaceAll('-', '_') === name);
    if (hasParameter(line, name) !== found) throw new Error(`${name} in ${JSON.stringify(line)}`);

    const limit = random.below(40);
    try {
      const bytes = encodeCmdline(line, limit);
      if (bytes.length > limit + 1 || bytes.indexOf(0) !== bytes.length - 1)
        throw new Error(`encoded: ${bytes}`);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      if (Buffer.byteLength(line) <= limit && !line.includes('\0')) throw error;
    }
  });
});
