/** An image with a Debian system, built as users build theirs; shared, so machines write to an overlay of it. */
import { join } from 'node:path';
import { type CacheOptions, cached, type Recipe } from '../../guest-kernels/cache.js';
import { SETUP_SOURCES, withDebianRoot } from '../../guest-kernels/debian-root.js';
import { buildRootfs } from '../../guest-kernels/rootfs.js';

const RECIPE: Recipe = {
  name: 'debian-image',
  files: [...SETUP_SOURCES, new URL('../../guest-kernels/debian-root.ts', import.meta.url)],
  async build(folder, { root, progress, signal }) {
    const packages = await withDebianRoot({ root, progress, signal }, async (debian) => {
      await buildRootfs({ source: debian.archive, output: join(folder, 'debian.img'), progress, signal });
      return debian.packages;
    });
    return { packages: packages.map(({ name, version }) => `${name} ${version}`).join(', ') };
  },
};

/** @returns the image's path */
export async function debianImage(options: CacheOptions = {}): Promise<string> {
  return join((await cached(RECIPE, options)).folder, 'debian.img');
}
