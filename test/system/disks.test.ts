/** Disks under a real driver: file systems, verified random writes, what a host can do to them meanwhile, and hard ends. */
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { afterAll, expect, it } from 'vitest';
import { VirtualMachine } from '../../src/index.js';
import { GUEST, guestName } from '../support/guest.js';
import { GUEST_LIMIT, guestTest, scripted } from '../support/guest-test.js';
import { CHECK, durable, JOURNAL, lastDurable } from '../support/journal.js';
import { mayMount, scratch, tmpfs } from '../support/scratch.js';
import { toolsDisk, USE_TOOLS } from '../support/tools-disk.js';

const folder = scratch();
afterAll(() => folder[Symbol.dispose]());
const tools = { source: await toolsDisk(), id: 'tools', readOnly: true };

const MIB = 2 ** 20;
/** What fio writes and reads back, and another file, KiB: an emulated kernel moves some hundred a second. */
const [WORK, BIG] = guestName === 'lean' ? [256, 1024] : [16_384, 4096];

/** A sparse file of that many bytes. */
function blank(name: string, size: number): string {
  const path = folder.path(name);
  writeFileSync(path, '');
  truncateSync(path, size);
  return path;
}

/** e2fsck on the host finds nothing to mend: its status is 0. */
const checkExt4 = (path: string): void => void execFileSync('e2fsck', ['-f', '-n', path], { stdio: 'pipe' });
const allocated = (path: string): number => statSync(path).blocks * 512;

const data = blank('data.img', 64 * MIB);
const small = blank('small.img', 8 * MIB);
const image = folder.path('image.qcow2');
execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', image, '32M']);

let full = 0;
guestTest(
  'a file system that is made, filled with verified random writes, emptied and checked in the guest',
  {
    config: { disks: [tools, { source: data, id: 'data' }] },
    guest: `
    ${USE_TOOLS}
    is capacity "$(cat /sys/block/vdb/size)" ${(64 * MIB) / 512}
    is serial "$(cat /sys/block/vdb/serial)" data
    is read-only "$(cat /sys/block/vda/ro)" 1
    dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync 2> /dev/null && fail 'wrote to a read-only disk'
    /mnt/bin/mke2fs -q -t ext4 /dev/vdb || fail mke2fs # the shell has one of its own
    mkdir /tmp/fs && mount -t ext4 /dev/vdb /tmp/fs || fail mount
    fio --name=verify --directory=/tmp/fs --rw=randwrite --bs=4k --size=${WORK}k --ioengine=psync --verify=crc32c \\
      --do_verify=1 --verify_fatal=1 --fsync=32 --eta=never --output=/tmp/fio.log || { cat /tmp/fio.log; fail fio; }
    seq 1 10000000 | head -c ${BIG}k > /tmp/fs/big
    sync
    echo filled
    read -r line
    rm /tmp/fs/big && sync && fstrim /tmp/fs || fail fstrim
    umount /tmp/fs
    e2fsck -f -n /dev/vdb > /tmp/fsck.log 2>&1 || { cat /tmp/fsck.log; fail fsck; }`,
    async host(vm) {
      await vm.waitFor('filled', { timeout: GUEST_LIMIT });
      full = allocated(data);
      vm.serial.write('go on\n');
    },
    after({ vm }) {
      checkExt4(data);
      expect(allocated(data)).toBeLessThan(full - (BIG - 128) * 1024);
      expect(vm.stats().devices['data']).toMatchObject({ errors: 0, faults: 0 });
    },
  },
);

let before = Buffer.alloc(0);
guestTest(
  'a qcow2 disk, an overlay and a disk in memory keep their promises; one that grows meanwhile grows in the guest',
  {
    config: {
      disks: [
        { source: image, id: 'image' },
        { source: small, id: 'small' },
        { source: data, id: 'base', overlay: 'memory' },
        { source: Buffer.alloc(MIB, 'x'), id: 'bytes', readOnly: true },
      ],
    },
    guest: `
    seq 1 10000000 | head -c 512k > /tmp/text
    dd if=/tmp/text of=/dev/vda bs=64k seek=7 conv=fsync 2> /dev/null || fail 'writing the qcow2 disk'
    dd if=/tmp/text of=/dev/vdb bs=64k conv=fsync 2> /dev/null || fail 'writing the second disk'
    dd if=/tmp/text of=/dev/vdc bs=64k conv=fsync 2> /dev/null || fail 'writing the overlay'
    echo 3 > /proc/sys/vm/drop_caches
    dd if=/dev/vda bs=64k skip=7 count=8 2> /dev/null | cmp - /tmp/text || fail 'the qcow2 disk reads something else'
    dd if=/dev/vdc bs=64k count=8 2> /dev/null | cmp - /tmp/text || fail 'the overlay reads something else'
    is bytes "$(dd if=/dev/vdd bs=512 skip=2047 2> /dev/null | tail -c 4)" xxxx
    echo grow
    n=0
    while [ "$(cat /sys/block/vdb/size)" != ${(12 * MIB) / 512} ]; do
      n=$((n + 1)); [ $n -lt 100 ] || fail 'the disk did not grow'; sleep 0.1
    done`,
    async host(vm) {
      before = readFileSync(data);
      await vm.waitFor('grow', { timeout: GUEST_LIMIT });
      expect(await vm.disks.get('small')!.resize(12 * MIB)).toBe(12 * MIB);
    },
    async after({ vm }) {
      await vm[Symbol.asyncDispose](); // it holds the images' locks
      execFileSync('qemu-img', ['check', '-q', image]);
      const raw = folder.path('image.raw');
      execFileSync('qemu-img', ['convert', '-O', 'raw', image, raw]);
      const written = readFileSync(raw).subarray(7 * 65_536, 7 * 65_536 + MIB / 2);
      expect(written.toString('latin1')).toMatch(/^1\n2\n3\n/);
      expect(written.equals(readFileSync(small).subarray(0, MIB / 2))).toBe(true);
      expect(readFileSync(data).equals(before)).toBe(true); // below its overlay it was left alone
    },
  },
);

it(
  'what was synced is there after the machine was switched off in the middle of writing',
  async () => {
    const path = blank('journal.img', 64 * MIB);
    execFileSync('mke2fs', ['-q', '-t', 'ext4', path]);
    const disks = [{ source: path, id: 'journal' }];
    let last = 0;
    {
      await using vm = await VirtualMachine.create({ ...GUEST, disks, initrd: scripted(JOURNAL) });
      vm.serial.resume();
      await vm.start();
      while (last < 3) {
        last = lastDurable(await vm.waitFor(/durable \d+\r?\n/, { timeout: GUEST_LIMIT }));
      }
    }
    const cmdline = `${GUEST.cmdline} ${durable(last)}`;
    await using vm = await VirtualMachine.create({ ...GUEST, cmdline, disks, initrd: scripted(CHECK) });
    vm.serial.resume();
    await vm.start();
    await vm.waitFor(`found ${last}`, { timeout: GUEST_LIMIT });
    await vm[Symbol.asyncDispose]();
    checkExt4(path);
  },
  2 * GUEST_LIMIT,
);

it.skipIf(!mayMount())(
  'a full host disk is an error in the guest, which lives on, and works again when there is room',
  async () => {
    using host = tmpfs(3 * MIB);
    const filler = host.path('filler');
    writeFileSync(filler, Buffer.alloc(1.5 * MIB));
    const path = host.path('sparse.img');
    writeFileSync(path, '');
    truncateSync(path, 16 * MIB);
    const script = `
      dd if=/dev/zero of=/dev/vda bs=64k count=64 conv=fsync 2> /dev/null && fail 'the disk took more than there is'
      echo full
      read -r line
      dd if=/dev/zero of=/dev/vda bs=64k count=8 conv=fsync 2> /dev/null || fail 'still no room'
      echo done`;
    const notices: string[] = [];
    const disks = [{ source: path, id: 'sparse' }];
    await using vm = await VirtualMachine.create({ ...GUEST, disks, initrd: scripted(script) });
    vm.on('notice', ({ message }) => notices.push(message));
    vm.serial.resume();
    await vm.start();
    await vm.waitFor('full', { timeout: GUEST_LIMIT });
    expect(notices.join()).toContain('ENOSPC');
    truncateSync(filler, 0);
    vm.serial.write('go on\n');
    await vm.waitFor('done', { timeout: GUEST_LIMIT });
    expect(vm.stats().devices['sparse']!['errors']).toBeGreaterThan(0);
  },
  GUEST_LIMIT,
);
