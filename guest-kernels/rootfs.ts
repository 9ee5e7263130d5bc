/**
 * A root file system image from a folder or a tar archive, for `--disk`: ext4 by mke2fs, squashfs or erofs. Nobody needs to
 * be root for it: as somebody else it runs under fakeroot, which keeps an archive's owners and device nodes, and gives a
 * folder's files to root, as everyone who builds an image from their own files wants.
 * Runs on: main.
 */
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { run } from './command.js';
import { ensureInstalled } from './debian-install.js';
import { Progress, type ProgressReporter } from './progress.js';
import { RecipeError } from './recipe-error.js';

export const ROOTFS_TYPES = ['ext4', 'squashfs', 'erofs'] as const;
export type RootfsType = (typeof ROOTFS_TYPES)[number];

export interface RootfsOptions {
  /** A folder, or a tar archive (also compressed: .tar.gz, .tar.xz, .tar.zst). */
  readonly source: string;
  /** The image; replaced when it is complete, never half written. */
  readonly output: string;
  readonly type?: RootfsType;
  /** Bytes of an ext4 image; what its contents need and a third more, 64 MiB at least, unless said. */
  readonly size?: number;
  readonly progress?: ProgressReporter;
  readonly signal?: AbortSignal | undefined;
}

const MIB = 2 ** 20;
const LEAST = 64 * MIB;
/** What a file costs beside its bytes: an inode, a directory entry, half a block. */
const PER_FILE = 3072;
const TOOLS = { ext4: 'e2fsprogs', squashfs: 'squashfs-tools', erofs: 'erofs-utils' } as const;

/** From the folder `$1` to the image `$2`: read-only file systems, as large as they need to be. */
const PACK = {
  squashfs: 'mksquashfs "$1" "$2" -noappend -no-progress -quiet',
  erofs: 'mkfs.erofs --quiet "$2" "$1"',
} as const;

/** Builds the image. @throws RecipeError when the source cannot be read, or does not fit */
export async function buildRootfs(options: RootfsOptions): Promise<void> {
  const { type = 'ext4', progress = Progress.silent, signal } = options;
  const source = resolve(options.source);
  const output = resolve(options.output);
  const isFolder = kindOf(source) === 'folder';
  const asRoot = process.getuid?.() === 0;
  const packages = [TOOLS[type], ...(asRoot ? [] : ['fakeroot'])];
  await ensureInstalled(packages, { progress, signal, reason: 'building a root file system' });
  await progress.step(`building ${basename(output)}`, async () => {
    const work = mkdtempSync(join(tmpdir(), 'typevisor-rootfs-'));
    const image = join(dirname(output), `.${basename(output)}.${process.pid}`);
    try {
      const folder = isFolder ? source : join(work, 'root');
      const unpack = isFolder ? 'true' : 'mkdir "$1" && tar -x --numeric-owner -p -f "$3" -C "$1"';
      if (type !== 'ext4') {
        await shell(asRoot, `${unpack} && ${PACK[type]}`, [folder, image, source], signal);
      } else {
        // The size is known only after unpacking, so that one comes first and both share what fakeroot remembers.
        const state = join(work, 'owners');
        if (!isFolder) await shell(asRoot, unpack, [folder, image, source], signal, state);
        writeFileSync(image, '');
        truncateSync(image, options.size ?? sizeFor(folder));
        const format =
          'mke2fs -q -F -t ext4 -L rootfs -m 0 -E root_owner=0:0,lazy_itable_init=0 -d "$1" "$2"';
        await shell(asRoot, format, [folder, image], signal, isFolder ? undefined : state);
      }
      renameSync(image, output);
    } finally {
      rmSync(image, { force: true });
      rmSync(work, { recursive: true, force: true });
    }
  });
}

/** Runs `script` with `$1`, `$2` and so on, as root or as somebody who looks like it. */
async function shell(
  asRoot: boolean,
  script: string,
  args: readonly string[],
  signal: AbortSignal | undefined,
  state?: string,
): Promise<void> {
  const command = ['sh', '-c', script, 'sh', ...args];
  const wrapper = ['fakeroot', ...(state ? ['-i', state, '-s', state] : []), '--'];
  if (state && !asRoot) writeFileSync(state, '', { flag: 'a' });
  const [file, ...rest] = asRoot ? command : [...wrapper, ...command];
  await run(file!, rest, { signal });
}

function kindOf(source: string): 'folder' | 'archive' {
  try {
    return statSync(source).isDirectory() ? 'folder' : 'archive';
  } catch (cause) {
    throw new RecipeError(`${source}: no such file or folder`, { cause });
  }
}

function sizeFor(folder: string): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    bytes += PER_FILE + (entry.isFile() ? lstatSync(join(entry.parentPath, entry.name)).size : 0);
  }
  return Math.max(LEAST, Math.ceil((bytes * 4) / 3 / MIB) * MIB);
}
