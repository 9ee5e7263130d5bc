/**
 * The lean guest: our own kernel, everything built in, that also runs on a KVM that emulates guest kernel code; with a
 * busybox initramfs, and a second one whose /init only says that it runs, for benchmarks. lean/README.md tells more.
 * Runs on: main.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchBusybox } from './busybox.js';
import { type CacheOptions, cached, type Manifest, type Recipe, sha256 } from './cache.js';
import { run } from './command.js';
import { type CpioEntry, cpio } from './cpio.js';
import { baseInitramfs, INITRAMFS_SOURCES } from './initramfs.js';
import { buildKernel } from './kernel-source.js';

const file = (name: string): URL => new URL(`./lean/${name}`, import.meta.url);
const CONFIG = file('config');
const BENCH_INIT = file('bench-init.c');
const PATCHES = readdirSync(new URL('./lean/', import.meta.url))
  .filter((name) => name.endsWith('.patch'))
  .sort()
  .map(file);

const SERIES = '6.1';
/** REP MOVSB and REP STOSB inline cost an emulator a step for each byte. */
const FLAGS = ['-mmemset-strategy=libcall:-1:noalign', '-mmemcpy-strategy=libcall:-1:noalign'];
/** Changes whenever the same inputs would give another result. */
const VERSION = 1;
/** Lines of the build's output. */
const STEPS = 1500;

/** A guest ready to boot. Paths are absolute, in the cache. */
export interface LeanGuest {
  readonly kernel: string;
  readonly initrd: string;
  /** Its /init writes "typevisor: init up" and resets the machine. */
  readonly benchInitrd: string;
  readonly config: string;
  readonly release: string;
  readonly manifest: Manifest;
}

/** The lean guest from the cache, built first if need be: a download of 140 MB and a few minutes. @throws RecipeError */
export async function leanGuest(options: CacheOptions = {}): Promise<LeanGuest> {
  const { folder, manifest } = await cached(leanRecipe(), options);
  return {
    kernel: join(folder, 'vmlinux'),
    initrd: join(folder, 'initrd'),
    benchInitrd: join(folder, 'bench-initrd'),
    config: join(folder, 'config'),
    release: String(manifest.found['release']),
    manifest,
  };
}

/** The recipe of `leanGuest`: the kernel, which takes long, is an entry of its own. */
export function leanRecipe(): Recipe {
  return {
    name: `lean-${SERIES}`,
    inputs: { version: VERSION, kernel: sha256(kernelInputs()) },
    files: [...INITRAMFS_SOURCES, BENCH_INIT],
    async build(folder, context) {
      const kernel = await cached(kernelRecipe(), context);
      const busybox = await fetchBusybox(context);
      for (const name of ['vmlinux', 'config']) {
        writeFileSync(join(folder, name), readFileSync(join(kernel.folder, name)));
      }
      writeFileSync(join(folder, 'initrd'), baseInitramfs({ busybox: busybox.binary }));
      writeFileSync(join(folder, 'bench-initrd'), await benchInitramfs());
      return {
        ...kernel.manifest.found,
        busyboxVersion: busybox.version,
        busyboxSha256: busybox.sha256,
      };
    },
  };
}

/** What the kernel's entry depends on, as text. */
const kernelInputs = (): string => [CONFIG, ...PATCHES].map((url) => readFileSync(url, 'utf8')).join('\0');

function kernelRecipe(): Recipe {
  return {
    name: `lean-kernel-${SERIES}`,
    inputs: { series: SERIES, flags: FLAGS.join(' '), version: VERSION },
    files: [CONFIG, ...PATCHES],
    async build(folder, context) {
      const source = { series: SERIES, config: CONFIG, patches: PATCHES, flags: FLAGS, steps: STEPS };
      const built = await buildKernel(source, context);
      writeFileSync(join(folder, 'vmlinux'), built.vmlinux);
      writeFileSync(join(folder, 'config'), built.config);
      return {
        release: built.release,
        sourceVersion: built.version,
        sourceSha256: built.sha256,
        compiler: built.compiler,
      };
    },
  };
}

async function benchInitramfs(): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-init-'));
  try {
    const output = join(folder, 'init');
    const flags = ['-Os', '-static', '-nostdlib', '-ffreestanding', '-fno-stack-protector'];
    const more = ['-fno-asynchronous-unwind-tables', '-Wl,--build-id=none', '-s', '-Wall', '-Wextra'];
    await run('gcc', [...flags, ...more, fileURLToPath(BENCH_INIT), '-o', output]);
    const entries: CpioEntry[] = [
      { type: 'character-device', path: 'dev/console', major: 5, minor: 1 },
      { type: 'file', path: 'init', mode: 0o755, data: readFileSync(output) },
    ];
    return cpio(entries);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
