import { describe, expect, it } from 'vitest';
import { literalPrefix, packagesIn, parseStanzas } from '../../../guest-kernels/debian-index.js';

const STANZAS = `Package: linux-image-6.1.0-9-cloud-amd64
Version: 6.1.27-1
Architecture: amd64
Description: Linux 6.1
 for clouds
 .
 with: a colon
Size: 100
SHA256: aa

Package: linux-image-6.1.0-10-cloud-amd64
Version: 6.1.38-1
Architecture: amd64
Size: 200
SHA256: bb

Package: only-installed-here
Version: 1
Architecture: amd64
Status: install ok installed
`;

describe('parseStanzas', () => {
  it('splits at blank lines and keeps fields in their order', () => {
    const stanzas = parseStanzas(STANZAS);
    expect(stanzas).toHaveLength(3);
    expect([...stanzas[1]!.keys()]).toEqual(['Package', 'Version', 'Architecture', 'Size', 'SHA256']);
  });

  it('joins continuation lines, and takes none for a field', () => {
    expect(parseStanzas(STANZAS)[0]!.get('Description')).toBe('Linux 6.1\nfor clouds\n.\nwith: a colon');
    expect(parseStanzas(STANZAS)[0]!.has('with')).toBe(false);
  });

  it('takes several blank lines, blanks on them, and nothing at all', () => {
    expect(parseStanzas('\n\nA: 1\n \n\nB: 2\n\n')).toHaveLength(2);
    expect(parseStanzas('')).toEqual([]);
  });

  it('takes empty values and values with colons', () => {
    const [stanza] = parseStanzas('Empty:\nUrl: http://example.org:80/\n');
    expect(Object.fromEntries(stanza!)).toEqual({ Empty: '', Url: 'http://example.org:80/' });
  });
});

describe('packagesIn', () => {
  it('puts the newest version first and leaves out what cannot be downloaded', () => {
    expect(
      packagesIn(STANZAS).map(({ name, version, size, sha256 }) => [name, version, size, sha256]),
    ).toEqual([
      ['linux-image-6.1.0-10-cloud-amd64', '6.1.38-1', 200, 'bb'],
      ['linux-image-6.1.0-9-cloud-amd64', '6.1.27-1', 100, 'aa'],
    ]);
  });

  it('prefers the last name in the alphabet among equal versions', () => {
    const stanza = (name: string): string =>
      `Package: ${name}\nVersion: 1\nArchitecture: amd64\nSize: 1\nSHA256: x\n`;
    const names = packagesIn(['b', 'c', 'a'].map(stanza).join('\n')).map(({ name }) => name);
    expect(names).toEqual(['c', 'b', 'a']);
  });
});

describe('literalPrefix', () => {
  it.each([
    [/linux-image-6\.12\.\d+[^-]*(-\d+)?-cloud-amd64/, 'linux-image-6.12.'],
    [/linux-image-\d+\.\d+\.\d+-cloud-amd64/, 'linux-image-'],
    [/^busybox-static$/, 'busybox-static'],
    [/abc?d/, 'ab'], // the last letter is optional
    [/ab*/, 'a'],
    [/ab{2}/, 'a'],
    [/ab|cd/, ''], // either
    [/a(b|c)/, ''],
    [/a(b)c/, 'a'],
    [/[ab]c/, ''],
    [/.+/, ''],
    [/g\+\+/, 'g++'],
    [/g\+\+?/, 'g+'],
  ])('of %s is "%s"', (pattern, prefix) => {
    expect(literalPrefix(pattern)).toBe(prefix);
  });
});
