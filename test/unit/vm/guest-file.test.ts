import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { VmmError } from '../../../src/base/errors.js';
import { gpa, MiB } from '../../../src/base/units.js';
import { ramRanges } from '../../../src/boot/layout.js';
import { Ram } from '../../../src/memory/ram.js';
import { type GuestFileSource, openGuestFile } from '../../../src/vm/guest-file.js';

const folder = mkdtempSync(join(tmpdir(), 'typevisor-file-'));
afterAll(() => rmSync(folder, { recursive: true }));
const content = Uint8Array.from({ length: 10_000 }, (_, index) => index % 253);
const path = join(folder, 'image');
writeFileSync(path, content);

describe.each<[string, GuestFileSource]>([
  ['a path', path],
  ['a file: URL', pathToFileURL(path)],
  ['bytes', content],
])('an image from %s', (_what, source) => {
  it('has a size, and is read by offset', () => {
    using file = openGuestFile('kernel', source);
    expect(file.size).toBe(10_000);
    expect([...file.read(250, 5)]).toEqual([250, 251, 252, 0, 1]);
    expect(file.read(9_990, 100).length).toBe(10);
    expect(file.read(10_000, 100).length).toBe(0);
    expect(file.read(20_000, 100).length).toBe(0);
  });

  it('goes into guest memory', () => {
    using file = openGuestFile('kernel', source);
    using ram = new Ram(ramRanges(2 * MiB));
    file.copyTo(ram, 100, gpa(MiB), 5000);
    const bytes = ram.memory.slice(gpa(MiB), 5001);
    expect(Buffer.compare(bytes.subarray(0, 5000), content.subarray(100, 5100))).toBe(0);
    expect(bytes[5000]).toBe(0);
  });
});

describe('an image that cannot be read', () => {
  const error = (what: string, source: string): unknown => {
    try {
      openGuestFile(what, source)[Symbol.dispose]();
    } catch (caught) {
      expect(caught).toBeInstanceOf(VmmError);
      return caught;
    }
    return undefined;
  };

  it('is named, with what it should have been', () => {
    const missing = join(folder, 'missing');
    expect(error('kernel', missing)).toMatchObject({
      code: 'ERR_FILE',
      message: `kernel: no such file: ${missing}`,
    });
    expect(error('initrd', join(path, 'below'))).toMatchObject({
      message: `initrd: no such file: ${path}/below`,
    });
    expect(error('kernel', folder)).toMatchObject({ message: `kernel: is a directory: ${folder}` });
    expect(error('kernel', '/dev/null')).toMatchObject({ message: 'kernel: not a regular file: /dev/null' });
    const loop = join(folder, 'loop');
    symlinkSync('loop', loop);
    expect(error('kernel', loop)).toMatchObject({ message: `kernel: ELOOP: ${loop}` });
  });

  it('does not make us wait when it is a pipe that nobody writes to', () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    expect(error('kernel', pipe)).toMatchObject({ message: `kernel: not a regular file: ${pipe}` });
  });
});
