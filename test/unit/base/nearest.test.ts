import { describe, expect, it } from 'vitest';
import { nearest } from '../../../src/base/nearest.js';

const OPTIONS = ['kernel', 'initrd', 'cmdline', 'memory', 'cpus'];

describe('nearest', () => {
  it.each([
    ['kernal', 'kernel'], // a replacement
    ['kernl', 'kernel'], // a deletion
    ['kernnel', 'kernel'], // an insertion
    ['KERNEL', 'kernel'], // case does not count
    ['mem0ry', 'memory'],
    ['cpu', 'cpus'],
    ['initdr', 'initrd'], // two neighbours swapped are two replacements
  ])('guesses %s as %s', (word, guess) => expect(nearest(word, OPTIONS)).toBe(guess));

  it('guesses nothing for a word that is more than a third wrong', () => {
    expect(nearest('disk', OPTIONS)).toBeUndefined();
    expect(nearest('xernxx', OPTIONS)).toBeUndefined();
    expect(nearest('', OPTIONS)).toBeUndefined();
    expect(nearest('x', ['y', 'ab'])).toBeUndefined();
  });

  it('takes the closest of several, and the first of equals', () => {
    expect(nearest('bootx', ['roots', 'boot'])).toBe('boot');
    expect(nearest('card', ['cart', 'carp'])).toBe('cart');
  });

  it('finds nothing among nothing', () => expect(nearest('kernel', [])).toBeUndefined());
});
