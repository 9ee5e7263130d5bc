import { describe, expect, it } from 'vitest';
import { KernelError } from '../../../src/base/errors.js';
import { identifyKernel } from '../../../src/boot/image.js';
import { readerOf } from '../../../src/boot/reader.js';
import { bzImage } from '../../support/bzimage.js';
import { elfImage, SMALL_ELF } from '../../support/images.js';

const identify = (bytes: Uint8Array) => identifyKernel(readerOf(bytes));
const startingWith = (text: string, size = 0x1000): Uint8Array => {
  const bytes = new Uint8Array(size);
  bytes.set(Buffer.from(text, 'latin1'));
  return bytes;
};

const at = (offset: number, text: string, bytes: Uint8Array): Uint8Array => {
  bytes.set(Buffer.from(text, 'latin1'), offset);
  return bytes;
};

describe('a kernel image', () => {
  it('is told by its first bytes', () => {
    expect(identify(elfImage(SMALL_ELF))).toBe('elf');
    expect(identify(bzImage())).toBe('bzImage');
  });

  it('is a bzImage with or without an EFI stub', () => {
    const image = bzImage();
    image.set([0, 0]);
    expect(identify(image)).toBe('bzImage');
  });
});

describe('what is no kernel is called by its name', () => {
  const bootSector = new Uint8Array(0x1000);
  bootSector.set([0x55, 0xaa], 0x1fe);
  const others: [string, Uint8Array, RegExp][] = [
    ['nothing', new Uint8Array(0), /is empty/],
    ['a few bytes', new Uint8Array(63), /only 63 bytes long/],
    ['gzip', startingWith('\x1f\x8b\x08'), /a gzip file/],
    ['xz', startingWith('\xfd7zXZ\0'), /an xz file/],
    ['zstd', startingWith('\x28\xb5\x2f\xfd'), /a zstd file/],
    ['an initrd', startingWith('070701'), /a cpio archive/],
    ['a script', startingWith('#!/bin/sh\n'), /a script/],
    ['a disk image', startingWith('QFI\xfb'), /a qcow2 disk image/],
    ['a package', startingWith('!<arch>\n'), /a Debian package/],
    ['a boot sector', bootSector, /a boot sector without a Linux header/],
    ['a Windows program', startingWith('MZ'), /an EFI or Windows program/],
    ["another machine's kernel", at(0x38, 'ARM\x64', startingWith('MZ')), /is for ARM64, not x86-64/],
    ["a third machine's", at(0x38, 'RSC\x05', startingWith('MZ')), /is for RISC-V, not x86-64/],
    ['a packed one', at(4, 'zimg', startingWith('MZ')), /is for another machine .*ARM64/],
    ["a boot loader's", startingWith('\x27\x05\x19\x56'), /is for U-Boot, not x86-64/],
    ['a short Windows program', startingWith('MZ', 64), /an EFI or Windows program/],
    ['text', startingWith('hello'), /neither an ELF file nor a bzImage/],
    ['zeros', new Uint8Array(64), /neither an ELF file nor a bzImage/],
  ];

  it.each(others)('%s', (_what, bytes, message) => {
    expect(() => identify(bytes)).toThrow(KernelError);
    expect(() => identify(bytes)).toThrow(message);
    expect(() => identify(bytes)).toThrow(expect.objectContaining({ hint: expect.stringMatching(/./) }));
  });
});
