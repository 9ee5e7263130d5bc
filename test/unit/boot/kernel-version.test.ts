import { describe, expect, it } from 'vitest';
import { SETUP } from '../../../src/boot/bzimage.js';
import { EHDR } from '../../../src/boot/elf.js';
import { isSince, kernelVersion, SHDR } from '../../../src/boot/kernel-version.js';
import { readerOf } from '../../../src/boot/reader.js';
import { bzImage } from '../../support/bzimage.js';
import { elfImage, SMALL_ELF, withSections } from '../../support/images.js';

const BANNER = 'Linux version 6.12.117+deb12-cloud-amd64 (debian-kernel@lists.debian.org) (gcc)';

/** An ELF file with a .text, a .rodata that begins with `data`, and the names of both. */
function vmlinux(data: string): { image: Uint8Array; view: DataView; table: number } {
  const bytes = new Uint8Array(0x2000);
  bytes.set(Buffer.from(data, 'latin1'));
  const { image, table } = withSections(elfImage(SMALL_ELF), [
    { name: '.text', bytes: new Uint8Array(0x100) },
    { name: '.rodata', bytes },
  ]);
  return { image, view: new DataView(image.buffer), table };
}
const ofElf = (image: Uint8Array) => kernelVersion(readerOf(image), 'elf');

/** A bzImage whose header points to `text`. */
function versioned(text: string, at = 0x300): Uint8Array {
  const image = bzImage();
  new DataView(image.buffer).setUint16(SETUP.KERNEL_VERSION, at, true);
  image.set(Buffer.from(`${text}\0`, 'latin1'), 0x200 + at);
  return image;
}
const ofBzImage = (image: Uint8Array) => kernelVersion(readerOf(image), 'bzImage');

describe('the version of a kernel', () => {
  it('is told by the banner of a vmlinux', () => {
    const { image } = vmlinux(`${'\0'.repeat(0x1a0)}${BANNER}`);
    expect(ofElf(image)).toEqual({ major: 6, minor: 12 });
  });

  it('is told by the header of a bzImage', () => {
    expect(ofBzImage(versioned('6.1.0-56-cloud-amd64 (debian) #1 SMP'))).toEqual({ major: 6, minor: 1 });
    expect(ofBzImage(versioned('5.10'))).toEqual({ major: 5, minor: 10 });
  });

  it('is unknown of a kernel that does not say, or says something else', () => {
    expect(ofElf(elfImage(SMALL_ELF))).toBeUndefined();
    expect(ofElf(vmlinux('OSv version 6.12').image)).toBeUndefined();
    expect(ofElf(vmlinux('Linux version next').image)).toBeUndefined();
    expect(ofElf(vmlinux(`${'\0'.repeat(0x1000)}${BANNER}`).image)).toBeUndefined();
    expect(ofBzImage(bzImage())).toBeUndefined();
    expect(ofBzImage(versioned('unknown'))).toBeUndefined();
  });

  it('is unknown of a damaged file', () => {
    const damage: [string, (view: DataView, table: number) => void][] = [
      ['a table behind the end', (view) => view.setBigUint64(EHDR.SHOFF, 2n ** 64n - 8n, true)],
      ['more sections than there are bytes', (view) => view.setUint16(EHDR.SHNUM, 1000, true)],
      ['sections of another size', (view) => view.setUint16(EHDR.SHENTSIZE, 40, true)],
      ['names of no section', (view) => view.setUint16(EHDR.SHSTRNDX, 0xffff, true)],
      [
        'names that lie nowhere',
        (view, table) => view.setBigUint64(table + 3 * SHDR.BYTES + SHDR.OFFSET, 2n ** 63n, true),
      ],
      [
        'a name beyond the names',
        (view, table) => view.setUint32(table + 2 * SHDR.BYTES + SHDR.NAME, 0xffff_ffff, true),
      ],
      [
        'data that lies nowhere',
        (view, table) => view.setBigUint64(table + 2 * SHDR.BYTES + SHDR.OFFSET, 2n ** 64n - 1n, true),
      ],
    ];
    for (const [what, change] of damage) {
      const { image, view, table } = vmlinux(BANNER);
      change(view, table);
      if (what !== 'more sections than there are bytes') expect(ofElf(image), what).toBeUndefined();
      else expect(() => ofElf(image)).not.toThrow();
    }
    expect(ofBzImage(versioned('6.1').subarray(0, 0x20f))).toBeUndefined();
    expect(ofBzImage(versioned('6.1').subarray(0, 0x500))).toBeUndefined();
  });

  it('is compared by both numbers', () => {
    const five = { major: 5, minor: 6 };
    for (const [major, minor, since] of [
      [5, 6, true],
      [5, 10, true],
      [6, 1, true],
      [5, 5, false],
      [4, 19, false],
    ] as const) {
      expect(isSince({ major, minor }, five)).toBe(since);
    }
    expect(isSince(undefined, five)).toBe(false);
  });
});
