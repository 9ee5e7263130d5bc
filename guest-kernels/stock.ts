/**
 * The stock guest: Debian's cloud kernel as packaged, with a busybox initramfs that holds the virtio modules it needs.
 * It stands for the kernels users bring: modular, ACPI only, not built for us.
 * Runs on: main.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fetchBusybox } from './busybox.js';
import { type CacheOptions, cached, type Manifest, type Recipe } from './cache.js';
import { ensureInstalled } from './debian-install.js';
import { baseInitramfs, INITRAMFS_SOURCES } from './initramfs.js';
import { withKernelPackage } from './kernel-package.js';
import { loadModules, moduleEntries } from './modules.js';
import { DECOMPRESSORS } from './vmlinux.js';

/** Drivers of the devices a microVM may have, and the file systems that go with them. */
const MODULES = [
  ...['virtio', 'virtio_ring', 'virtio_mmio', 'virtio_pci'],
  ...[
    'virtio_blk',
    'virtio_net',
    'virtio_console',
    'virtio_rng',
    'virtio_balloon',
    'virtio_mem',
    'virtio_pmem',
  ],
  ...['vsock', 'vmw_vsock_virtio_transport', 'nd_pmem', 'virtiofs', 'fuse', 'overlay', 'squashfs', 'erofs'],
  ...['button', 'evdev'], // the power button, for guests that watch it
];

/** Changes whenever the same inputs would give another result. */
const VERSION = 1;

/** Kernel series the stock guest is tested with. */
export const STOCK_SERIES = ['6.1', '6.12'] as const;

/** A guest ready to boot. Paths are absolute, in the cache. */
export interface StockGuest {
  /** The ELF kernel, decompressed by the host. */
  readonly kernel: string;
  readonly bzImage: string;
  readonly initrd: string;
  /** The kernel's build configuration. */
  readonly config: string;
  /** `6.1.0-56-cloud-amd64` */
  readonly release: string;
  readonly manifest: Manifest;
}

export interface StockOptions extends CacheOptions {
  /** Kernel series; 6.1 unless said otherwise. */
  readonly series?: string;
}

/** The stock guest from the cache, prepared first if need be: downloads about 27 MB. @throws RecipeError */
export async function stockGuest(options: StockOptions = {}): Promise<StockGuest> {
  const { folder, manifest } = await cached(stockRecipe(options.series), options);
  return {
    kernel: join(folder, 'vmlinux'),
    bzImage: join(folder, 'bzImage'),
    initrd: join(folder, 'initrd'),
    config: join(folder, 'config'),
    release: String(manifest.found['release']),
    manifest,
  };
}

/** The recipe of `stockGuest`, for those who want to know whether it is in the cache. */
export function stockRecipe(series: string = STOCK_SERIES[0]): Recipe {
  return {
    name: `stock-${series}`,
    inputs: { series, version: VERSION, modules: MODULES.join(' ') },
    files: INITRAMFS_SOURCES,
    async build(folder, context) {
      await ensureInstalled(DECOMPRESSORS, { ...context, reason: 'unpacking a kernel' });
      const busybox = await fetchBusybox(context);
      return withKernelPackage(series, context, async (kernel) => {
        const modules = await loadModules(kernel.moduleFolder, MODULES);
        const entries = moduleEntries(kernel.release, modules);
        const initrd = baseInitramfs({ busybox: busybox.binary, modules: entries });
        const outputs = { bzImage: kernel.bzImage, vmlinux: kernel.vmlinux, config: kernel.config, initrd };
        for (const [name, bytes] of Object.entries(outputs)) writeFileSync(join(folder, name), bytes);
        return {
          release: kernel.release,
          package: kernel.package.name,
          packageVersion: kernel.package.version,
          packageSha256: kernel.package.sha256,
          busyboxVersion: busybox.version,
          busyboxSha256: busybox.sha256,
          modules: modules.map(({ name }) => name).join(' '),
        };
      });
    },
  };
}
