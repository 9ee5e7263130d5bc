/**
 * The rig's machine as a recipe: a Debian cloud kernel, an initramfs that ends in our serve.sh, and the kernel's modules,
 * uncompressed, for what a test may want inside. QEMU starts the kernel's ELF file directly: no firmware, no decompression.
 * The rule: everything here is about the outer machine; the guests that boot inside it have recipes of their own.
 * Runs on: main.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchBusybox } from '../../guest-kernels/busybox.js';
import { type BuildContext, type CacheOptions, cached, type Recipe } from '../../guest-kernels/cache.js';
import { run } from '../../guest-kernels/command.js';
import { type CpioEntry, cpio } from '../../guest-kernels/cpio.js';
import { ensureInstalled } from '../../guest-kernels/debian-install.js';
import { withKernelPackage } from '../../guest-kernels/kernel-package.js';
import { type KernelModule, loadModules, moduleEntries } from '../../guest-kernels/modules.js';
import { RecipeError } from '../../guest-kernels/recipe-error.js';
import { DECOMPRESSORS } from '../../guest-kernels/vmlinux.js';
import { steadyQemu } from './qemu-patch.js';

/** Kernel series the machine may run. 6.1 is the one that never failed. */
export const RIG_KERNELS = ['6.1', '6.12'] as const;
export type RigKernel = (typeof RIG_KERNELS)[number];

/** A machine ready to start. Paths are absolute, in the cache. */
export interface Machine {
  /** The program to run. */
  readonly qemu: string;
  readonly kernel: string;
  readonly initrd: string;
  /** What is mounted at /lib/modules inside. */
  readonly modules: string;
  readonly release: string;
}

export interface MachineOptions extends CacheOptions {
  readonly kernel?: RigKernel;
}

/** The programs a session runs, and the Debian packages they come from. */
const QEMU = '/usr/bin/qemu-system-x86_64';
export const VIRTIOFSD = '/usr/lib/qemu/virtiofsd';
const RUNTIME_PACKAGES = ['qemu-system-x86', 'qemu-system-common'];
const BUILD_PACKAGES = ['gcc', 'libc6-dev'];

/** Modules /init loads before the root is there, and those it loads for KVM afterwards. */
const FIRST_MODULES = ['virtio', 'virtio_ring', 'virtio_pci', 'virtio_console', 'virtiofs', 'overlay'];
const KVM_MODULES = ['kvm', 'kvm_amd'];
/** Loaded on demand inside: when a device node is opened, a file system is mounted, or by modprobe. */
const OTHER_MODULES = [
  ...['tun', 'tap', 'veth', 'dummy', 'bridge', 'macvlan', 'macvtap', 'vhost', 'vhost_net', 'vhost_vsock'],
  ...['vsock', 'vsock_loopback', 'af_packet', 'loop', 'brd', 'nbd', 'null_blk', 'fuse', 'cuse'],
  ...['ext4', 'squashfs', 'erofs', 'vfat', 'nls_ascii', 'nls_iso8859_1', 'isofs', 'xfs', 'btrfs'],
  ...[
    'nf_tables',
    'nft_chain_nat',
    'nft_masq',
    'nft_ct',
    'nft_compat',
    'ip_tables',
    'iptable_nat',
    'iptable_filter',
  ],
  ...['xt_MASQUERADE', 'xt_conntrack', 'xt_comment', 'br_netfilter', 'sch_ingress', 'cls_u32', 'act_mirred'],
  ...['userfaultfd', 'vfio', 'vfio_pci', 'dm_mod', 'dm_snapshot'],
];

/** Changes whenever the same inputs would give another result. */
const VERSION = 1;
const INIT = new URL('./inside/init.sh', import.meta.url);
const SERVE = new URL('./inside/serve.sh', import.meta.url);
const TOOLS = ['hold', 'stream'].map((name) => ({
  name,
  source: new URL(`./inside/${name}.c`, import.meta.url),
}));

/** The machine from the cache, prepared first if need be, and what it takes to run it. @throws RecipeError */
export async function prepareMachine(options: MachineOptions = {}): Promise<Machine> {
  const obstacle = rigObstacle();
  if (obstacle) throw new RecipeError(obstacle, { hint: 'run it as root on an x86-64 Debian 12 system' });
  if (!existsSync(QEMU) || !existsSync(VIRTIOFSD)) {
    await ensureInstalled(RUNTIME_PACKAGES, { ...options, reason: 'the rig' });
    const missing = [QEMU, VIRTIOFSD].find((file) => !existsSync(file));
    if (missing)
      throw new RecipeError(`the rig needs ${missing}`, { hint: `install ${RUNTIME_PACKAGES.join(' ')}` });
  }
  const { folder, manifest } = await cached(machineRecipe(options.kernel), options);
  return {
    qemu: await steadyQemu(QEMU, options),
    kernel: join(folder, 'vmlinux'),
    initrd: join(folder, 'initrd'),
    modules: join(folder, 'lib/modules'),
    release: String(manifest.found['release']),
  };
}

/** Why this host cannot run the rig at all, whatever is installed; undefined if it can. */
export function rigObstacle(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'the rig runs on x86-64 Linux only';
  // virtiofsd shares the root file system as it is, and that takes root's rights.
  if (process.getuid?.() !== 0) return 'the rig needs root';
  const installable = existsSync('/usr/bin/apt-get');
  if (!installable && !(existsSync(QEMU) && existsSync(VIRTIOFSD))) return 'the rig needs Debian packages';
  return undefined;
}

/** The recipe of `prepareMachine`, for those who want to know whether it is in the cache. */
export function machineRecipe(kernel: RigKernel = RIG_KERNELS[0]): Recipe {
  const modules = [...FIRST_MODULES, ...KVM_MODULES, ...OTHER_MODULES];
  return {
    name: `rig-${kernel}`,
    inputs: { kernel, version: VERSION, modules: modules.join(' ') },
    files: [INIT, SERVE, ...TOOLS.map(({ source }) => source)],
    async build(folder, context) {
      await ensureInstalled([...DECOMPRESSORS, ...BUILD_PACKAGES], {
        ...context,
        reason: 'preparing the rig',
      });
      const busybox = await fetchBusybox(context);
      const tools = await compileTools(context);
      return withKernelPackage(kernel, context, async ({ package: deb, release, vmlinux, moduleFolder }) => {
        const load = (names: readonly string[]): Promise<KernelModule[]> => loadModules(moduleFolder, names);
        await context.progress.step(`unpacking Linux ${release} for the rig`, async () => {
          const first = await load(FIRST_MODULES);
          const kvm = (await load(KVM_MODULES)).filter(
            ({ name }) => !first.some((other) => other.name === name),
          );
          writeFileSync(join(folder, 'vmlinux'), vmlinux);
          writeFileSync(join(folder, 'initrd'), initramfs(busybox.binary, tools, first, kvm));
          writeFiles(folder, moduleEntries(release, await load(modules)));
        });
        return {
          release,
          package: deb.name,
          packageVersion: deb.version,
          packageSha256: deb.sha256,
          busyboxVersion: busybox.version,
          busyboxSha256: busybox.sha256,
        };
      });
    },
  };
}

function initramfs(
  busybox: Buffer,
  tools: readonly CpioEntry[],
  first: readonly KernelModule[],
  kvm: readonly KernelModule[],
): Buffer {
  const names = (modules: readonly KernelModule[]): string => modules.map(({ name }) => `${name}\n`).join('');
  return cpio([
    { type: 'character-device', path: 'dev/console', major: 5, minor: 1 },
    ...['proc', 'sys', 'host', 'upper', 'root'].map((path): CpioEntry => ({ type: 'directory', path })),
    { type: 'file', path: 'init', data: readFileSync(INIT), mode: 0o755 },
    { type: 'file', path: 'bin/busybox', data: busybox, mode: 0o755 },
    { type: 'file', path: 'tools/busybox', data: busybox, mode: 0o755 },
    { type: 'file', path: 'tools/serve.sh', data: readFileSync(SERVE) },
    ...tools,
    ...[...first, ...kvm].map(
      ({ name, object }): CpioEntry => ({ type: 'file', path: `modules/${name}.ko`, data: object }),
    ),
    { type: 'file', path: 'modules/first', data: names(first) },
    { type: 'file', path: 'modules/kvm', data: names(kvm) },
  ]);
}

/** hold and stream, linked statically: they run before and beside whatever the host's libraries are. */
async function compileTools({ signal }: BuildContext): Promise<CpioEntry[]> {
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-tools-'));
  try {
    const entries: CpioEntry[] = [];
    for (const { name, source } of TOOLS) {
      const output = join(folder, name);
      await run('gcc', ['-O2', '-Wall', '-static', '-s', '-o', output, fileURLToPath(source)], { signal });
      entries.push({ type: 'file', path: `tools/${name}`, data: readFileSync(output), mode: 0o755 });
    }
    return entries;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function writeFiles(root: string, entries: readonly CpioEntry[]): void {
  for (const entry of entries) {
    if (entry.type !== 'file') continue;
    const path = join(root, entry.path);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, entry.data);
  }
}
