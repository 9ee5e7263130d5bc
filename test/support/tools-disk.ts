/**
 * A disk with programs for guests on it, for `disks`: fio, mke2fs and e2fsck in bin/ of an ext4 file system. `USE_TOOLS`
 * mounts it, given as the first disk.
 */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CacheOptions, cached } from '../../guest-kernels/cache.js';
import { buildRootfs } from '../../guest-kernels/rootfs.js';
import { guestTools } from './guest-tools.js';

/** Shell lines for a guest whose first disk is the one here. */
export const USE_TOOLS = 'mount -t ext4 -o ro /dev/vda /mnt || fail "no tools disk"\nPATH=/mnt/bin:$PATH\n';

/** @returns the image's path; it is shared, so give it to machines read-only */
export async function toolsDisk(options: CacheOptions = {}): Promise<string> {
  const tools = await guestTools(options);
  const { folder } = await cached(
    {
      name: 'tools-disk',
      inputs: { version: 1 },
      files: Object.values(tools),
      async build(target, { progress, signal }) {
        const work = mkdtempSync(join(tmpdir(), 'typevisor-tools-'));
        try {
          mkdirSync(join(work, 'bin'));
          for (const [name, path] of Object.entries(tools)) copyFileSync(path, join(work, 'bin', name));
          await buildRootfs({ source: work, output: join(target, 'tools.img'), progress, signal });
        } finally {
          rmSync(work, { recursive: true, force: true });
        }
        return {};
      },
    },
    options,
  );
  return join(folder, 'tools.img');
}
