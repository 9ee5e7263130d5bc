/** An initramfs of ours, read by an independent reader. */
import { describe, expect, it } from 'vitest';
import { alignArchive, initramfs } from '../../../src/boot/cpio.js';
import { readCpio } from '../../support/cpio-reader.js';

describe('an initramfs', () => {
  it('has its files, with their modes and contents, and ends at a multiple of 4', () => {
    const data = Uint8Array.from([1, 2, 3, 4, 5]);
    const bytes = initramfs([
      { path: 'folder', mode: 0o040755 },
      { path: 'folder/program', mode: 0o100755, data },
    ]);
    expect(bytes.length % 4).toBe(0);
    const entries = readCpio(Buffer.from(bytes));
    expect(entries.map(({ path, mode }) => [path, mode])).toEqual([
      ['folder', 0o040755],
      ['folder/program', 0o100755],
    ]);
    expect([...entries[1]!.data]).toEqual([...data]);
  });

  it('goes behind another at a multiple of 4', () => {
    expect([0, 1, 3, 4, 5].map(alignArchive)).toEqual([0, 4, 4, 4, 8]);
  });
});
