import { describe, expect, it } from 'vitest';
import { GiB, gpa } from '../../../src/base/units.js';
import { SETUP } from '../../../src/boot/bzimage.js';
import { e820Map } from '../../../src/boot/e820.js';
import { CMDLINE, ramRanges, ZERO_PAGE } from '../../../src/boot/layout.js';
import { BOOT_PARAMS, writeZeroPage, type ZeroPageInput } from '../../../src/boot/zero-page.js';
import { GuestMemory } from '../../../src/memory/guest-memory.js';

function written(input: Partial<ZeroPageInput>) {
  const ram = new Uint8Array(0x1_0000);
  const e820 = e820Map(ramRanges(5 * GiB));
  writeZeroPage(GuestMemory.over(ram), { setupHeader: undefined, e820, initrd: undefined, ...input });
  const page = ram.slice(ZERO_PAGE, ZERO_PAGE + 0x1000);
  const outside = [...ram.subarray(0, ZERO_PAGE), ...ram.subarray(ZERO_PAGE + 0x1000)];
  expect(outside.every((byte) => byte === 0)).toBe(true);
  return { page, view: new DataView(page.buffer), e820 };
}

describe('the zero page', () => {
  it('has a made-up header for a vmlinux', () => {
    const { view } = written({});
    expect(view.getUint16(SETUP.BOOT_FLAG, true)).toBe(0xaa55);
    expect(Buffer.from(view.buffer, SETUP.MAGIC, 4).toString()).toBe('HdrS');
    expect(view.getUint8(SETUP.TYPE_OF_LOADER)).toBe(0xff);
    expect(view.getUint32(SETUP.CMD_LINE_PTR, true)).toBe(CMDLINE);
  });

  it('has a bzImage’s own header, but for what the loader fills in', () => {
    const setupHeader = Uint8Array.from({ length: 0x7b }, (_, index) => index + 1);
    const { page, view } = written({ setupHeader });
    const filled = new Set([SETUP.TYPE_OF_LOADER, ...[0, 1, 2, 3].map((byte) => SETUP.CMD_LINE_PTR + byte)]);
    for (const [index, byte] of setupHeader.entries()) {
      const at = SETUP.HEADER + index;
      if (!filled.has(at)) expect(page[at], `0x${at.toString(16)}`).toBe(byte);
    }
    expect(view.getUint8(SETUP.TYPE_OF_LOADER)).toBe(0xff);
    expect(view.getUint32(SETUP.CMD_LINE_PTR, true)).toBe(CMDLINE);
  });

  it('tells where the initrd is, above 4 GiB too', () => {
    const fields = (view: DataView) =>
      [
        SETUP.RAMDISK_IMAGE,
        BOOT_PARAMS.EXT_RAMDISK_IMAGE,
        SETUP.RAMDISK_SIZE,
        BOOT_PARAMS.EXT_RAMDISK_SIZE,
      ].map((at) => view.getUint32(at, true));
    expect(fields(written({}).view)).toEqual([0, 0, 0, 0]);
    expect(fields(written({ initrd: { base: gpa(0x700_0000), size: 0x1234 } }).view)).toEqual([
      0x700_0000, 0, 0x1234, 0,
    ]);
    const far = { base: gpa(5 * GiB), size: 4 * GiB + 1 };
    expect(fields(written({ initrd: far }).view)).toEqual([0x4000_0000, 1, 1, 1]);
  });

  it('has the memory map', () => {
    const { view, e820 } = written({});
    expect(view.getUint8(BOOT_PARAMS.E820_ENTRIES)).toBe(4);
    for (const [index, { base, size, type }] of e820.entries()) {
      const at = 0x2d0 + index * 20;
      expect([
        view.getBigUint64(at, true),
        view.getBigUint64(at + 8, true),
        view.getUint32(at + 16, true),
      ]).toEqual([BigInt(base), BigInt(size), type]);
    }
  });
});
