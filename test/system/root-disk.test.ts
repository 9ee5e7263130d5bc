/** Root file systems that the builder of guest-kernels/ made, booted as a user boots them. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { afterAll, expect, it } from 'vitest';
import { buildRootfs, type RootfsType } from '../../guest-kernels/rootfs.js';
import { vmm } from '../support/command.js';
import { guest, guestName } from '../support/guest.js';
import { fillRoot } from '../support/guest-root.js';
import { GUEST_LIMIT } from '../support/guest-test.js';
import { scratch } from '../support/scratch.js';

const folder = scratch();
afterAll(() => folder[Symbol.dispose]());

/** The stock kernel has no driver for disks before its initramfs ran. */
const KERNEL =
  guestName === 'stock'
    ? ['--kernel', guest.kernel, '--initrd', guest.initrd, '--memory', '256M']
    : ['--kernel', guest.kernel, '--memory', '128M'];
const cmdline = (mode: string): string => (guestName === 'stock' ? `quiet root=/dev/vda ${mode}` : 'quiet'); // the monitor adds it without an initrd

async function bootFrom(type: RootfsType, disk: (image: string) => string, init: string) {
  const source = folder.path(`${type}-root`);
  mkdirSync(source);
  fillRoot(source, init);
  const image = folder.path(`${type}.img`);
  await buildRootfs({ source, output: image, type });
  const mode = disk(image) === image ? 'rw' : 'ro';
  const args = [...KERNEL, '--cmdline', cmdline(mode), '--disk', disk(image)];
  const result = await vmm(args, { input: '' });
  expect(result.stdout, result.stderr).toContain('root: exit 0\r\n');
  expect(result.code).toBe(0);
  return { ...result, image };
}

it(
  'an ext4 image boots as the root, writable, and what init wrote is in it afterwards',
  async () => {
    const { stdout, image } = await bootFrom(
      'ext4',
      (path) => path,
      `echo "cmdline: $(cat /proc/cmdline)"
      grep -q '^/dev/[a-z]* / ext4 rw' /proc/mounts || { cat /proc/mounts; exit 1; }
      [ -b /dev/vda ] && echo "hello from $(uname -r)" > /etc/written`,
    );
    expect(stdout).toMatch(/cmdline: .*root=\/dev\/vda rw/);
    execFileSync('e2fsck', ['-f', '-n', image], { stdio: 'pipe' });
    const text = execFileSync('debugfs', ['-R', 'cat /etc/written', image], { stdio: 'pipe' });
    expect(text.toString()).toBe(`hello from ${guest.release}\n`);
  },
  GUEST_LIMIT,
);

// Unpacking squashfs in an emulated kernel takes a minute, and the lean one has no erofs.
it.runIf(guestName === 'stock').each(['squashfs', 'erofs'] as const)(
  'a read-only image boots as the root of a read-only disk: %s',
  async (type) => {
    await bootFrom(
      type,
      (path) => `${path},ro`,
      `grep -q '^/dev/[a-z]* / ${type} ro' /proc/mounts || { cat /proc/mounts; exit 1; }
      [ "$(cat /sys/block/vda/ro)" = 1 ]`,
    );
  },
  GUEST_LIMIT,
);
