import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  aliasIndex,
  dependencyIndex,
  findModules,
  loadModules,
  moduleEntries,
} from '../../../guest-kernels/modules.js';
import { RecipeError } from '../../../guest-kernels/recipe-error.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'typevisor-modules-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A module file of a made-up kernel; `suffix` says how it is packed. */
function module(path: string, info: readonly string[], pack = (bytes: Buffer): Buffer => bytes): void {
  const target = join(folder, 'kernel', path);
  mkdirSync(dirname(target), { recursive: true });
  const strings = info.map((text) => `.string "${text}"\n`).join('');
  execFileSync('as', ['--64', '-o', target], { input: `.section .modinfo,"a"\n${strings}` });
  writeFileSync(target, pack(readFileSync(target)));
}

function virtio(): void {
  module('drivers/virtio/virtio.ko', ['depends=']);
  module('drivers/virtio/virtio_ring.ko', ['depends=virtio']);
  module('drivers/virtio/virtio-mmio.ko', ['depends=virtio_ring,virtio', 'alias=of:N*T*Cvirtio,mmio']);
  module('drivers/block/virtio_blk.ko', ['alias=virtio:d00000002v*', 'depends=virtio,virtio-ring']);
}

describe('the modules of a kernel', () => {
  it('are found by the name the kernel gives them, packed or not', () => {
    virtio();
    module('fs/overlayfs/overlay.ko.gz', [], gzipSync);
    writeFileSync(join(folder, 'kernel/README'), 'no module');
    expect(Object.fromEntries([...findModules(folder)].sort())).toEqual({
      overlay: 'kernel/fs/overlayfs/overlay.ko.gz',
      virtio: 'kernel/drivers/virtio/virtio.ko',
      virtio_blk: 'kernel/drivers/block/virtio_blk.ko',
      virtio_mmio: 'kernel/drivers/virtio/virtio-mmio.ko',
      virtio_ring: 'kernel/drivers/virtio/virtio_ring.ko',
    });
  });

  it('are loaded with all they need, each after what it needs, once', async () => {
    virtio();
    const modules = await loadModules(folder, ['virtio-blk', 'virtio_mmio', 'virtio_blk']);
    expect(modules.map(({ name }) => name)).toEqual(['virtio', 'virtio_ring', 'virtio_blk', 'virtio_mmio']);
  });

  it('are unpacked, and lose the suffix that says so', async () => {
    module('a.ko.gz', ['alias=x'], gzipSync);
    const [loaded] = await loadModules(folder, ['a']);
    expect(loaded).toMatchObject({ path: 'kernel/a.ko', aliases: ['x'], depends: [] });
    expect(loaded!.object.toString('latin1', 1, 4)).toBe('ELF');
  });

  it('are left out when the kernel has none of that name', async () => {
    virtio();
    await expect(loadModules(folder, ['virtio_gpu'])).resolves.toEqual([]);
  });

  it('are refused when one needs another that is not there', async () => {
    module('a.ko', ['depends=b']);
    await expect(loadModules(folder, ['a'])).rejects.toThrow(
      new RecipeError('module a needs b, which the kernel package does not have'),
    );
  });

  it('are refused when they need each other', async () => {
    module('a.ko', ['depends=b']);
    module('b.ko', ['depends=a']);
    await expect(loadModules(folder, ['a'])).rejects.toThrow(
      new RecipeError('module a needs itself, by way of b'),
    );
  });

  it('are refused when damaged', async () => {
    module('a.ko.gz', [], (bytes) => gzipSync(bytes).subarray(0, -4));
    await expect(loadModules(folder, ['a'])).rejects.toThrow(RecipeError);
  });
});

describe('the indexes for modprobe', () => {
  it('list what each module needs, the last to be loaded first', async () => {
    virtio();
    const modules = await loadModules(folder, ['virtio_blk', 'virtio_mmio']);
    expect(dependencyIndex(modules)).toBe(
      [
        'kernel/drivers/virtio/virtio.ko:',
        'kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko',
        'kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko',
        'kernel/drivers/virtio/virtio-mmio.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko',
        '',
      ].join('\n'),
    );
    expect(aliasIndex(modules)).toBe(
      'alias virtio:d00000002v* virtio_blk\nalias of:N*T*Cvirtio,mmio virtio_mmio\n',
    );
  });

  it('lie beside the modules in the archive', async () => {
    virtio();
    const entries = moduleEntries('6.1.0', await loadModules(folder, ['virtio']));
    expect(entries.map(({ path }) => path)).toEqual([
      'lib/modules/6.1.0/kernel/drivers/virtio/virtio.ko',
      'lib/modules/6.1.0/modules.dep',
      'lib/modules/6.1.0/modules.alias',
    ]);
  });
});
