/** The AML encoder against what iasl 20200925 makes of the same ASL (with -oa, which leaves names as they are written). */
import { describe, expect, it } from 'vitest';
import * as aml from '../../../../src/boot/acpi/aml.js';
import { interrupt, io, memory32Fixed, resourceTemplate } from '../../../../src/boot/acpi/resources.js';

const hex = (bytes: aml.Aml): string => Buffer.from(bytes).toString('hex');
const bytes = (text: string): string => text.replaceAll(/\s/g, '');

describe('the AML encoder', () => {
  const snippets: readonly [asl: string, ours: aml.Aml, iasl: string][] = [
    ['Name (I000, Zero)', aml.name('I000', aml.integer(0)), '08 49303030 00'],
    ['Name (I001, One)', aml.name('I001', aml.integer(1)), '08 49303031 01'],
    ['Name (I002, 0xFF)', aml.name('I002', aml.integer(0xff)), '08 49303032 0aff'],
    ['Name (I003, 0x1234)', aml.name('I003', aml.integer(0x1234)), '08 49303033 0b3412'],
    ['Name (I004, 0xDEADBEEF)', aml.name('I004', aml.integer(0xdeadbeef)), '08 49303034 0cefbeadde'],
    [
      'Name (I005, 0x1C0001000)',
      aml.name('I005', aml.integer(0x1_c000_1000)),
      '08 49303035 0e 001000c001000000',
    ],
    [
      'Name (STR0, "VM_Gen_Counter")',
      aml.name('STR0', aml.string('VM_Gen_Counter')),
      '08 53545230 0d 564d5f47656e5f436f756e746572 00',
    ],
    ['Name (EID0, EisaId ("PNP0501"))', aml.name('EID0', aml.eisaId('PNP0501')), '08 45494430 0c 41d00501'],
    [
      'Name (BUF0, Buffer () { 1, 2, 3 })',
      aml.name('BUF0', aml.buffer([1, 2, 3])),
      '08 42554630 11 06 0a03 010203',
    ],
    [
      'Name (PKG0, Package () { 5, Zero, "a" })',
      aml.name('PKG0', aml.pack(aml.integer(5), aml.integer(0), aml.string('a'))),
      '08 504b4730 12 08 03 0a05 00 0d6100',
    ],
    [
      'Name (CRS0, ResourceTemplate () { IO, Memory32Fixed, Interrupt })',
      aml.name('CRS0', resourceTemplate(io(0x3f8, 8), memory32Fixed(0xc000_1000, 0x1000), interrupt(5))),
      `08 43525330 11 22 0a1f 4701f803f8030108 860900 01 001000c0 00100000 890600 03 01 05000000 7900`,
    ],
    [
      'OperationRegion (PMIO, SystemIO, 0x600, 0x100)',
      aml.operationRegion('PMIO', aml.REGION.SYSTEM_IO, 0x600, 0x100),
      '5b80 504d494f 01 0b0006 0b0001',
    ],
    [
      'Field (PMIO, ByteAcc, NoLock, Preserve) { Offset (3), AAAA, 8, BBBB, 8, Offset (128), CCCC, 8 }',
      aml.field(
        'PMIO',
        { bits: 24 },
        { name: 'AAAA', bits: 8 },
        { name: 'BBBB', bits: 8 },
        { bits: 8 * (128 - 5) },
        { name: 'CCCC', bits: 8 },
      ),
      '5b81 1a 504d494f 01 0018 4141414108 4242424208 00483d 4343434308',
    ],
    [
      'Scope (\\_SB) { Device (DEV0) { Name (_ADR, 7) Device (SUB0) { Name (_ADR, One) } } }',
      aml.scope(
        '\\_SB',
        aml.device(
          'DEV0',
          aml.name('_ADR', aml.integer(7)),
          aml.device('SUB0', aml.name('_ADR', aml.integer(1))),
        ),
      ),
      '10 21 5c5f53425f 5b82 19 44455630 085f4144520a07 5b82 0b 53554230 085f41445201',
    ],
    [
      'Method (MTH0, 2) { Local0 = \\AAAA  If (Local0 & 4) { Notify … ×3 }  Store (Arg1, ^BBBB)  Return (Arg0) }',
      aml.method(
        'MTH0',
        2,
        aml.store(aml.path('\\AAAA'), aml.local(0)),
        aml.when(
          aml.and(aml.local(0), aml.integer(4)),
          aml.notify(aml.path('\\_SB.DEV0'), 0x80),
          aml.notify(aml.path('\\_SB.DEV0.SUB0'), 0x81),
          aml.notify(aml.path('\\_SB'), 0x81),
        ),
        aml.store(aml.arg(1), aml.path('^BBBB')),
        aml.returns(aml.arg(0)),
      ),
      `14 4504 4d544830 02 705c4141414160 a0 2d 7b600a0400
       865c2e5f53425f444556300a80 865c2f035f53425f44455630535542300a81 865c5f53425f0a81 70695e42424242 a468`,
    ],
  ];

  it.each(snippets)('makes the bytes of iasl for %s', (_asl, ours, iasl) => {
    expect(hex(ours)).toBe(bytes(iasl));
  });

  it.each([
    // Two bytes of name, the content, and the length's own 1 to 3 (ACPI 6.5 §20.2.4).
    [0, '03'],
    [59, '3e'],
    [60, '3f'],
    [61, '4104'],
    [4089, '4dff'],
    [4091, '4fff'],
    [4092, '810001'],
    [70_000, '851711'],
  ])('counts a package of %i bytes', (length, expected) => {
    const encoded = hex(aml.scope('\\', new Array<number>(length).fill(0xa3)));
    expect(encoded.startsWith(`10${expected}`)).toBe(true);
    expect(encoded.length / 2).toBe(1 + expected.length / 2 + 2 + length);
  });

  it.each(['', 'pwrb', 'TOOLONG', '1ABC', 'A.', '.A', 'A B'])('refuses the name "%s"', (name) => {
    expect(() => aml.path(name)).toThrow(RangeError);
  });

  it('knows the root, parents and padding', () => {
    expect(hex(aml.path('\\'))).toBe('5c00');
    expect(hex(aml.path('^^GED'))).toBe(bytes('5e5e 4745445f'));
    expect(hex(aml.path('_SB'))).toBe(bytes('5f53425f'));
  });

  it('refuses what AML has no form for', () => {
    expect(() => aml.integer(-1)).toThrow(RangeError);
    expect(() => aml.integer(1.5)).toThrow(RangeError);
    expect(() => aml.integer(2 ** 53)).toThrow(RangeError);
    expect(() => aml.string('a\0')).toThrow(RangeError);
    expect(() => aml.string('ä')).toThrow(RangeError);
    expect(() => aml.eisaId('PNP050')).toThrow(RangeError);
    expect(() => aml.pack(...new Array<aml.Aml>(256).fill(aml.integer(0)))).toThrow(RangeError);
    expect(() => aml.method('MTHD', 8)).toThrow(RangeError);
    expect(() => memory32Fixed(0xffff_f000, 0x1001)).toThrow(RangeError);
  });
});
