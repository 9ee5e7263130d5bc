/**
 * Builds a kernel from Debian's kernel source package with a configuration and patches of ours. The result depends on
 * them, on the source's version and on the compiler, all of which the manifest records.
 * Runs on: main.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BuildContext } from './cache.js';
import { run, runText } from './command.js';
import { fetchNewest, unpackPackage } from './debian-fetch.js';
import { ensureInstalled } from './debian-install.js';
import { RecipeError } from './recipe-error.js';

const PACKAGES = ['gcc', 'make', 'flex', 'bison', 'bc', 'libelf-dev', 'patch', 'xz-utils', 'binutils'];

/** Fixed, so that the same inputs give the same bytes. */
const REPRODUCIBLE = {
  KBUILD_BUILD_TIMESTAMP: '1970-01-01',
  KBUILD_BUILD_USER: 'typevisor',
  KBUILD_BUILD_HOST: 'typevisor',
};

export interface KernelSource {
  /** `6.1` */
  readonly series: string;
  /** Options that differ from allnoconfig, as in a .config. */
  readonly config: URL;
  readonly patches: readonly URL[];
  /** Compiler flags besides the kernel's own. */
  readonly flags: readonly string[];
  /** About how many files the build makes, for its progress. */
  readonly steps: number;
}

export interface BuiltKernel {
  /** ELF, without debug information. */
  readonly vmlinux: Buffer;
  readonly config: Buffer;
  readonly release: string;
  /** Version of the source package. */
  readonly version: string;
  readonly sha256: string;
  readonly compiler: string;
}

/** Takes a few minutes. @throws RecipeError when a patch does not apply, an option does not survive, or the build fails */
export async function buildKernel(source: KernelSource, context: BuildContext): Promise<BuiltKernel> {
  const { progress, signal } = context;
  await ensureInstalled(PACKAGES, { ...context, reason: 'building a kernel' });
  const deb = await fetchNewest(`linux-source-${source.series}`, context);
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-build-'));
  const tree = join(folder, 'linux');
  const make = (args: readonly string[], onLine: (line: string) => void = () => {}): Promise<Buffer> =>
    run('make', ['-C', tree, ...args], { env: REPRODUCIBLE, signal, onLine });
  try {
    await progress.step(`unpacking linux ${deb.version}`, async () => {
      await unpackPackage(deb.path, folder, context);
      const archives = join(folder, 'usr/src');
      const archive = readdirSync(archives).find((name) => /^linux-source-.*\.tar\.xz$/.test(name));
      if (!archive)
        throw new RecipeError(`linux-source-${source.series} ${deb.version} has no source archive`);
      await run('mkdir', [tree]);
      await run('tar', ['-xJf', join(archives, archive), '-C', tree, '--strip-components=1'], { signal });
    });
    for (const patch of source.patches) {
      await run('patch', ['-p1', '--no-backup-if-mismatch', '-d', tree, '-i', fileURLToPath(patch)], {
        hint: `the patch was made for another version than ${deb.version}`,
        signal,
      });
    }
    await run('make', ['-C', tree, 'allnoconfig'], {
      env: { ...REPRODUCIBLE, KCONFIG_ALLCONFIG: fileURLToPath(source.config) },
      signal,
    });
    checkConfig(readFileSync(source.config, 'utf8'), readFileSync(join(tree, '.config'), 'utf8'));
    await progress.step(`building linux ${deb.version}`, async (step) => {
      let done = 0;
      const args = [`-j${availableParallelism()}`, `KCFLAGS=${source.flags.join(' ')}`, 'vmlinux'];
      await make(args, (line) => {
        const file = /^ {2}[A-Z]+ +(?:\[M\] )?(\S+)$/.exec(line)?.[1];
        if (file === undefined) return;
        done += 1;
        step.update(done / source.steps, file);
      });
    });
    const release = (
      await runText('make', ['-s', '-C', tree, 'kernelrelease'], { env: REPRODUCIBLE })
    ).trim();
    await run('strip', ['--strip-debug', join(tree, 'vmlinux')]);
    return {
      vmlinux: readFileSync(join(tree, 'vmlinux')),
      config: readFileSync(join(tree, '.config')),
      release,
      version: deb.version,
      sha256: deb.sha256,
      compiler: (await runText('gcc', ['-dumpfullversion'])).trim(),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** An option whose dependencies are missing vanishes without a word; here it is an error. */
function checkConfig(wanted: string, got: string): void {
  const have = new Set(got.split('\n'));
  const lost = wanted.split('\n').filter((line) => line.startsWith('CONFIG_') && !have.has(line));
  if (lost.length > 0) throw new RecipeError(`the kernel's configuration does not take ${lost.join(', ')}`);
}
