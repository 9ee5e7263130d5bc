/**
 * Debian's packaged kernels: finds the newest cloud kernel of a series, downloads and unpacks it. Used for the stock guest
 * and for the rig's own machine.
 * Runs on: main.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FetchedPackage, type FetchOptions, fetchNewest, unpackPackage } from './debian-fetch.js';
import { newestKnown } from './debian-index.js';
import { RecipeError } from './recipe-error.js';
import { extractVmlinux } from './vmlinux.js';

export interface UnpackedKernel {
  readonly package: FetchedPackage;
  /** `6.1.0-56-cloud-amd64` */
  readonly release: string;
  /** As packaged: compressed, with its setup code. */
  readonly bzImage: Buffer;
  /** The ELF file inside, stripped as Debian ships it. */
  readonly vmlinux: Buffer;
  readonly config: Buffer;
  /** lib/modules/RELEASE of the unpacked package; gone when `use` returns. */
  readonly moduleFolder: string;
}

/**
 * Downloads the newest cloud kernel of `series` (`6.1`, `6.12`) and hands its parts to `use` while they are unpacked.
 * @throws RecipeError if the archive has no such series
 */
export async function withKernelPackage<T>(
  series: string,
  options: FetchOptions,
  use: (kernel: UnpackedKernel) => Promise<T>,
): Promise<T> {
  const deb = await fetchNewest(await kernelName(series, options), options);
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-kernel-'));
  try {
    await unpackPackage(deb.path, folder, options);
    const boot = join(folder, 'boot');
    const image = readdirSync(boot).find((name) => name.startsWith('vmlinuz-'));
    if (!image) throw new RecipeError(`${deb.name} has no boot/vmlinuz`);
    const release = image.slice('vmlinuz-'.length);
    const bzImage = readFileSync(join(boot, image));
    return await use({
      package: deb,
      release,
      bzImage,
      vmlinux: await extractVmlinux(bzImage),
      config: readFileSync(join(boot, `config-${release}`)),
      moduleFolder: join(folder, moduleRoot(folder), release),
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Names of cloud kernels: `linux-image-6.1.0-56-cloud-amd64`, `linux-image-6.12.117+deb12-cloud-amd64`. */
async function kernelName(series: string, options: FetchOptions): Promise<RegExp> {
  const pattern = cloudKernels(series.replaceAll('.', '\\.'));
  if (await newestKnown(pattern, options)) return pattern;
  const any = await newestKnown(cloudKernels('\\d+\\.\\d+'), options);
  if (!any) return pattern; // no index yet: whoever fetches it updates the index and says what is missing
  throw new RecipeError(`the package archive has no cloud kernel ${series}; its newest is ${any.name}`, {
    hint: 'choose another series, or add the suite that has it to /etc/apt/sources.list',
  });
}

function cloudKernels(series: string): RegExp {
  return new RegExp(`linux-image-${series}\\.\\d+[^-]*(-\\d+)?-cloud-amd64`);
}

/** Merged /usr or not. */
function moduleRoot(folder: string): string {
  return readdirSync(folder).includes('lib') ? 'lib/modules' : 'usr/lib/modules';
}
