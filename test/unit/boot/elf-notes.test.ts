import { describe, expect, it } from 'vitest';
import { parseNotes } from '../../../src/boot/elf-notes.js';
import { readerOf } from '../../../src/boot/reader.js';
import { encodeNotes, type Note } from '../../support/notes.js';

const NONE = { pvhEntry: undefined, hostFeatures: 0 };
const parse = (bytes: Uint8Array) =>
  parseNotes(readerOf(bytes), [{ offset: 0n, fileSize: BigInt(bytes.length) }]);
const xen = (entry: number): Note => ({ owner: 'Xen', type: 18, words: [entry] });
const ours = (bits: number): Note => ({ owner: 'Typevisor', type: 1, words: [bits] });

describe('the notes of a kernel', () => {
  it('tell the PVH entry, also as a 64-bit word', () => {
    expect(parse(encodeNotes([xen(0x100_0000)]))).toEqual({ pvhEntry: 0x100_0000, hostFeatures: 0 });
    expect(parse(encodeNotes([{ ...xen(0), words: [0x8000_0000, 0] }])).pvhEntry).toBe(0x8000_0000);
  });

  it('are found between others, whose names have every length', () => {
    const others = ['', 'G', 'GN', 'GNU', 'Linux', 'x'.repeat(70)].map((owner) => ({
      owner,
      type: 18,
      words: [1, 2],
    }));
    expect(parse(encodeNotes([...others, xen(7), ...others, ours(2)]))).toEqual({
      pvhEntry: 7,
      hostFeatures: 2,
    });
  });

  it('are told by owner and type together', () => {
    expect(
      parse(
        encodeNotes([
          { ...xen(7), type: 17 },
          { ...ours(1), type: 2 },
          { ...xen(7), owner: 'xen' },
        ]),
      ),
    ).toEqual(NONE);
  });

  it('add up when there are several', () => {
    expect(parse(encodeNotes([ours(1), ours(2)])).hostFeatures).toBe(3);
  });

  it('come from every note segment', () => {
    const bytes = encodeNotes([xen(5), ours(1)]);
    const cut = BigInt(encodeNotes([xen(5)]).length);
    const segments = [
      { offset: cut, fileSize: BigInt(bytes.length) - cut },
      { offset: 0n, fileSize: cut },
    ];
    expect(parseNotes(readerOf(bytes), segments)).toEqual({ pvhEntry: 5, hostFeatures: 1 });
  });
});

describe('damaged notes are as good as none', () => {
  const good = encodeNotes([xen(7)]);
  const at = (offset: number, value: number): Uint8Array => {
    const bytes = good.slice();
    new DataView(bytes.buffer).setUint32(offset, value, true);
    return bytes;
  };

  it.each([
    ['cut off in their header', good.subarray(0, 11)],
    ['cut off in their descriptor', good.subarray(0, good.length - 1)],
    ['with a name as long as can be', at(0, 0xffff_ffff)],
    ['with a descriptor as long as can be', at(4, 0xffff_ffff)],
    ['with an empty descriptor', at(4, 0)],
    ['with a name that runs into the descriptor', at(0, 8)],
    ['of zeros', new Uint8Array(64)],
    ['of ones', new Uint8Array(64).fill(0xff)],
    ['of nothing', new Uint8Array(0)],
  ])('%s', (_what, bytes) => expect(parse(bytes)).toEqual(NONE));

  it('in segments that are not in the file, or too long to be notes', () => {
    const file = readerOf(new Uint8Array(0x2_0000));
    for (const [offset, fileSize] of [
      [2n ** 64n - 4n, 8n],
      [0x2_0000n, 1n],
      [0n, 0x1_0001n],
    ] as const) {
      expect(parseNotes(file, [{ offset, fileSize }])).toEqual(NONE);
    }
  });
});
