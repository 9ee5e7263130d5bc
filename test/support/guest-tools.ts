/**
 * Programs that tests and benchmarks run inside guests: fio, mke2fs and e2fsck, linked statically from Debian's sources,
 * so that a guest needs no libraries. Cached like the guest kernels.
 */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BuildContext, type CacheOptions, cached, type Recipe } from '../../guest-kernels/cache.js';
import { run } from '../../guest-kernels/command.js';
import { ensureInstalled } from '../../guest-kernels/debian-install.js';
import { fetchSource } from '../../guest-kernels/debian-source.js';

const VERSION = 1;
const FIO_FLAGS = [
  '--build-static',
  '--disable-native',
  '--disable-numa',
  '--disable-rdma',
  '--disable-rados',
];
const FIO_MORE = ['--disable-rbd', '--disable-http', '--disable-gfapi', '--disable-libnfs', '--disable-pmem'];

export interface GuestTools {
  readonly fio: string;
  readonly mke2fs: string;
  readonly e2fsck: string;
}

/** Paths of the programs; the first call takes a few minutes. @throws RecipeError */
export async function guestTools(options: CacheOptions = {}): Promise<GuestTools> {
  const { folder } = await cached(recipe, options);
  return { fio: join(folder, 'fio'), mke2fs: join(folder, 'mke2fs'), e2fsck: join(folder, 'e2fsck') };
}

const recipe: Recipe = {
  name: 'guest-tools',
  inputs: { version: VERSION, fio: [...FIO_FLAGS, ...FIO_MORE].join(' ') },
  async build(folder, context) {
    await ensureInstalled(['gcc', 'make', 'zlib1g-dev', 'pkg-config'], {
      ...context,
      reason: 'building fio',
    });
    const work = mkdtempSync(join(tmpdir(), 'typevisor-tools-'));
    try {
      await buildFio(work, folder, context);
      await buildE2fsprogs(work, folder, context);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
    return {};
  },
};

async function buildFio(work: string, folder: string, context: BuildContext): Promise<void> {
  const cwd = await fetchSource('fio', work, context);
  await context.progress.step('building fio', async () => {
    const { signal } = context;
    await run('./configure', [...FIO_FLAGS, ...FIO_MORE], { cwd, signal });
    await run('make', [`-j${availableParallelism()}`, 'fio'], { cwd, signal });
    await run('strip', ['fio'], { cwd });
  });
  copyFileSync(join(cwd, 'fio'), join(folder, 'fio'));
}

async function buildE2fsprogs(work: string, folder: string, context: BuildContext): Promise<void> {
  const cwd = await fetchSource('e2fsprogs', work, context);
  await context.progress.step('building mke2fs and e2fsck', async () => {
    const { signal } = context;
    const flags = [
      '--disable-nls',
      '--disable-fuse2fs',
      '--disable-uuidd',
      '--disable-defrag',
      '--disable-imager',
    ];
    await run('./configure', flags, { cwd, signal });
    const make = (...args: string[]): Promise<Buffer> =>
      run('make', [`-j${availableParallelism()}`, ...args], { cwd, signal });
    await make('libs');
    await make('-C', 'misc', 'mke2fs.static');
    await make('-C', 'e2fsck', 'e2fsck.static');
    for (const [from, to] of [
      ['misc/mke2fs.static', 'mke2fs'],
      ['e2fsck/e2fsck.static', 'e2fsck'],
    ] as const) {
      await run('strip', ['-o', join(folder, to), from], { cwd });
    }
  });
}
