/** Kernels in the four compressions Debian has used, packed here as the kernel's build packs them; and damaged ones. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { RecipeError } from '../../../guest-kernels/recipe-error.js';
import { extractVmlinux } from '../../../guest-kernels/vmlinux.js';

/** Something like a kernel: an ELF magic, bytes that compress and bytes that do not. */
const VMLINUX = Buffer.concat([
  Buffer.from('\x7fELF', 'latin1'),
  Buffer.alloc(300_000, 'kernel '),
  randomBytes(5000),
]);
const size = Buffer.alloc(4);
size.writeUInt32LE(VMLINUX.length);
const tool = (file: string, ...args: string[]): Buffer =>
  execFileSync(file, args, { input: VMLINUX, stdio: ['pipe', 'pipe', 'ignore'], maxBuffer: 2 ** 24 });

/** As scripts/Makefile.lib: gzip's own trailer is the size, the others get it appended. */
const PACKERS: Readonly<Record<string, () => Buffer>> = {
  gzip: () => gzipSync(VMLINUX),
  xz: () => Buffer.concat([tool('xz', '--check=crc32', '--x86', '--lzma2=dict=1MiB', '-c'), size]),
  zstd: () => Buffer.concat([tool('zstd', '-c'), size]),
  lz4: () => Buffer.concat([tool('lz4', '-l', '-c'), size]),
};
const installed = (name: string): boolean => !spawnSync(name, ['--version'], { stdio: 'ignore' }).error;

interface Image {
  readonly sectors?: number; // 0 means 4
  readonly version?: number;
  readonly offset?: number;
  readonly length?: number;
}

/** A bzImage around a payload: setup sectors, then protected-mode code with the payload somewhere in it. */
function bzImage(
  payload: Buffer,
  { sectors = 3, version = 0x20f, offset = 0x300, length }: Image = {},
): Buffer {
  const setup = Buffer.alloc(((sectors || 4) + 1) * 512);
  setup[0x1f1] = sectors;
  setup.write('HdrS', 0x202, 'latin1');
  setup.writeUInt16LE(version, 0x206);
  setup.writeUInt32LE(offset, 0x248);
  setup.writeUInt32LE(length ?? payload.length, 0x24c);
  return Buffer.concat([setup, Buffer.alloc(offset, 0x90), payload, Buffer.alloc(64)]);
}

describe('the ELF kernel in a bzImage', () => {
  it.each(Object.keys(PACKERS))('comes out of a %s payload', { timeout: 20_000 }, async (name) => {
    if (!installed(name)) return expect(name).not.toBe('gzip'); // on this machine the recipes install it first
    expect((await extractVmlinux(bzImage(PACKERS[name]!()))).equals(VMLINUX)).toBe(true);
  });

  it('is found behind four setup sectors when the header says none', async () => {
    expect((await extractVmlinux(bzImage(PACKERS['gzip']!(), { sectors: 0 }))).equals(VMLINUX)).toBe(true);
  });

  it.each([
    ['an empty file', Buffer.alloc(0), 'no setup header'],
    ['a short file', Buffer.alloc(0x24f), 'no setup header'],
    ['another file', Buffer.alloc(4096), 'no setup header'],
    ['an old protocol', bzImage(gzipSync(VMLINUX), { version: 0x207 }), 'boot protocol 207 is older'],
    ['a payload beyond the end', bzImage(gzipSync(VMLINUX), { length: 2 ** 31 }), 'truncated bzImage'],
    ['a payload that starts beyond the end', bzImage(Buffer.alloc(8), { length: 2 ** 32 - 1 }), 'truncated'],
    ['an empty payload', bzImage(Buffer.alloc(0)), 'truncated bzImage'],
    ['a payload of four bytes', bzImage(Buffer.alloc(4)), 'truncated bzImage'],
    ['an unknown compression', bzImage(Buffer.from('BZh91AY&SY')), 'unknown kernel compression: 425a6839'],
    ['gzip of something else', bzImage(gzipSync(Buffer.alloc(100, 'x'))), 'no ELF file of 100 bytes'],
    ['gzip of nothing', bzImage(gzipSync('')), 'no ELF file of 0 bytes'],
    ['half a gzip payload', bzImage(gzipSync(VMLINUX).subarray(0, 4000)), 'the gzip payload is damaged'],
  ])('is refused in %s', async (_what, image, message) => {
    const refusal = extractVmlinux(image);
    await expect(refusal).rejects.toThrow(RecipeError);
    await expect(refusal).rejects.toThrow(message);
  });

  it.each(['xz', 'zstd', 'lz4'])(
    'is refused in a %s payload that is cut, changed or of another size',
    async (name) => {
      if (!installed(name)) return;
      const payload = PACKERS[name]!();
      const cut = Buffer.concat([payload.subarray(0, 2000), size]);
      await expect(extractVmlinux(bzImage(cut))).rejects.toThrow(RecipeError);
      const changed = Buffer.from(payload);
      changed.fill(0xa5, 100, 400);
      await expect(extractVmlinux(bzImage(changed))).rejects.toThrow(RecipeError);
      const shrunk = Buffer.from(payload);
      shrunk.writeUInt32LE(VMLINUX.length - 1, shrunk.length - 4);
      await expect(extractVmlinux(bzImage(shrunk))).rejects.toThrow(
        `no ELF file of ${VMLINUX.length - 1} bytes`,
      );
    },
    20_000,
  );
});
