/** What a host does to the disks of a running guest, as its driver sees it. */
import { unlinkSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect } from 'vitest';
import { FaultyDisk, MemoryDisk, type VirtualMachine } from '../../src/index.js';
import { GUEST_LIMIT, guestTest, recorded } from '../support/guest-test.js';
import { scratch } from '../support/scratch.js';

const MIB = 2 ** 20;
const folder = scratch();
afterAll(() => folder[Symbol.dispose]());

const file = folder.path('file.img');
writeFileSync(file, Buffer.alloc(MIB, 'a'));
const faulty = new FaultyDisk(new MemoryDisk(MIB));

/** Waits until the guest asks for it, does it, and lets the guest go on. */
async function when(vm: VirtualMachine, asked: string, act: () => void | Promise<void>): Promise<void> {
  await vm.waitFor(`host: ${asked}`, { timeout: GUEST_LIMIT });
  await act();
  vm.serial.write('go on\n');
}

guestTest('a disk is removed, swapped, limited, reset, and fails, under a guest that uses it', {
  config: {
    disks: [
      { source: file, id: 'file' },
      { source: faulty, id: 'faulty' },
      { source: Buffer.alloc(MIB, 'c'), id: 'overlay', overlay: 'memory' },
    ],
  },
  guest: `
    ask() { echo "host: $1"; read -r line; echo 3 > /proc/sys/vm/drop_caches; }
    block() { dd if=/dev/$1 bs=4k skip=$2 count=1 2> /dev/null; }
    start() { block $1 0 | head -c 4; }
    ask remove
    is 'a disk whose file was removed' "$(start vda)" aaaa
    ask swap
    is 'another disk' "$(start vda)" bbbb
    is 'its size' "$(cat /sys/block/vda/size)" ${(2 * MIB) / 512}
    ask limit
    echo reading
    block vda 16 > /dev/null; block vda 32 > /dev/null; block vda 48 > /dev/null
    echo 'read all'
    ask break
    block vdb 0 > /dev/null || fail 'what was not broken'
    block vdb 32 > /dev/null && fail 'a broken block was read'
    ask mend
    block vdb 32 > /dev/null || fail 'what was mended'
    echo xxxx | dd of=/dev/vdc conv=fsync,notrunc 2> /dev/null || fail 'writing to the overlay'
    is 'the overlay' "$(start vdc)" xxxx
    ask reset
    is 'the overlay that was reset' "$(start vdc)" cccc`,
  async host(vm) {
    const console = recorded(vm);
    const disk = vm.disks.get('file')!;
    await when(vm, 'remove', () => unlinkSync(file));
    await when(vm, 'swap', () => disk.replace(Buffer.alloc(2 * MIB, 'b')));
    await when(vm, 'limit', () => disk.limit({ ops: { size: 1, refillMs: 3_600_000 } }));
    await vm.waitFor('reading', { timeout: GUEST_LIMIT });
    await sleep(1000);
    expect(console.text).not.toContain('read all');
    disk.limit();
    let mend = (): void => {};
    await when(vm, 'break', () => {
      mend = faulty.inject({ operation: 'read', from: 32 * 4096, to: 33 * 4096, error: 'EIO' });
    });
    await when(vm, 'mend', () => mend());
    await when(vm, 'reset', () => vm.disks.get('overlay')!.reset());
  },
  after({ vm }) {
    expect(vm.stats().devices['faulty']!['errors']).toBeGreaterThan(0);
    expect(vm.stats().devices['file']).toMatchObject({ errors: 0, faults: 0 });
  },
});
