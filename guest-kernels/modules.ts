/**
 * The modules of a packaged kernel: finds them below lib/modules/RELEASE, reads what each says of itself in its .modinfo
 * section, and puts a choice of them with all they depend on into an archive, with the two indexes modprobe needs.
 * Runs on: main.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { run } from './command.js';
import type { CpioEntry } from './cpio.js';
import { moduleInfo } from './module-info.js';
import { RecipeError } from './recipe-error.js';

export interface KernelModule {
  /** As the kernel spells it: underscores, no suffix. */
  readonly name: string;
  /** Below lib/modules/RELEASE, uncompressed: `kernel/drivers/block/virtio_blk.ko`. */
  readonly path: string;
  /** The uncompressed ELF object. */
  readonly object: Buffer;
  /** Names of the modules it needs, directly. */
  readonly depends: readonly string[];
  /** Patterns of the devices it drives: `virtio:d00000002v*`. */
  readonly aliases: readonly string[];
}

/** Module files: name → path below the release's folder, maybe compressed. */
export type ModuleFiles = ReadonlyMap<string, string>;

const SUFFIX = /\.ko(\.xz|\.zst|\.gz)?$/;
const DECOMPRESS = { '.xz': 'xz', '.zst': 'zstd', '.gz': 'gzip' } as const;

/** The module files below `folder` (lib/modules/RELEASE of an unpacked package). */
export function findModules(folder: string): ModuleFiles {
  const files = new Map<string, string>();
  const walk = (below: string): void => {
    for (const entry of readdirSync(join(folder, below), { withFileTypes: true })) {
      const path = join(below, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (SUFFIX.test(entry.name)) files.set(kernelName(entry.name), path);
    }
  };
  walk('kernel');
  return files;
}

/**
 * The modules called `names` and all they depend on, each after what it needs. A name the kernel has no module for is
 * left out: the driver is built in, or this kernel has none.
 * @throws RecipeError if a module that was found needs one that is not there, or itself
 */
export async function loadModules(folder: string, names: Iterable<string>): Promise<KernelModule[]> {
  const files = findModules(folder);
  const loaded = new Map<string, KernelModule>();
  const visiting = new Set<string>();
  const visit = async (name: string, neededBy: string | undefined): Promise<void> => {
    if (loaded.has(name)) return;
    if (visiting.has(name)) throw new RecipeError(`module ${name} needs itself, by way of ${neededBy}`);
    visiting.add(name);
    const path = files.get(name);
    if (path === undefined) {
      if (neededBy === undefined) return;
      throw new RecipeError(`module ${neededBy} needs ${name}, which the kernel package does not have`);
    }
    const object = await readModule(join(folder, path));
    const info = moduleInfo(object);
    const depends = (info.get('depends')?.[0] ?? '').split(',').filter(Boolean).map(kernelName);
    for (const dependency of depends) await visit(dependency, name);
    const aliases = info.get('alias') ?? [];
    loaded.set(name, { name, path: path.replace(SUFFIX, '.ko'), object, depends, aliases });
  };
  for (const name of names) await visit(kernelName(name), undefined);
  return [...loaded.values()];
}

/** `modules`, as `loadModules` ordered them, and their indexes below lib/modules/`release` of an archive. */
export function moduleEntries(release: string, modules: readonly KernelModule[]): CpioEntry[] {
  const folder = `lib/modules/${release}`;
  return [
    ...modules.map(
      ({ path, object }): CpioEntry => ({ type: 'file', path: `${folder}/${path}`, data: object }),
    ),
    { type: 'file', path: `${folder}/modules.dep`, data: dependencyIndex(modules) },
    { type: 'file', path: `${folder}/modules.alias`, data: aliasIndex(modules) },
  ];
}

/** modules.dep(5): each module with everything it needs, the last one to be loaded first. */
export function dependencyIndex(modules: readonly KernelModule[]): string {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const needs = (module: KernelModule, found: Set<KernelModule>): Set<KernelModule> => {
    for (const name of module.depends) {
      const dependency = byName.get(name);
      if (dependency) needs(dependency, found).add(dependency);
    }
    return found;
  };
  const lines = modules.map((module) => {
    const paths = [...needs(module, new Set())].reverse().map(({ path }) => ` ${path}`);
    return `${module.path}:${paths.join('')}\n`;
  });
  return lines.join('');
}

/** modules.alias: device pattern to module. */
export function aliasIndex(modules: readonly KernelModule[]): string {
  return modules.flatMap(({ name, aliases }) => aliases.map((alias) => `alias ${alias} ${name}\n`)).join('');
}

async function readModule(path: string): Promise<Buffer> {
  const compressed = SUFFIX.exec(path)?.[1] as keyof typeof DECOMPRESS | undefined;
  return compressed ? run(DECOMPRESS[compressed], ['-dc', path]) : readFileSync(path);
}

function kernelName(file: string): string {
  return basename(file).replace(SUFFIX, '').replaceAll('-', '_');
}
