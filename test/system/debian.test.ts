/** A distribution's own init on a distribution's own kernel: Debian boots systemd from a disk, to a login prompt and beyond. */
import { expect, it } from 'vitest';
import { VirtualMachine } from '../../src/index.js';
import { debianImage } from '../support/debian-image.js';
import { GUEST, guestName } from '../support/guest.js';
import { recorded } from '../support/guest-test.js';

/** systemd on an emulated processor takes its time, ms. */
const LIMIT = 400_000;

/** The end of a line that the guest's shell printed, rather than one that its terminal echoes. */
const DONE = 'all looked at';
const LOOK = [
  'export SYSTEMD_COLORS=0',
  'systemctl is-system-running --wait',
  'systemctl --failed --plain --no-legend',
  'networkctl --no-pager --no-legend list',
  'ip -4 -o address',
  'cat /sys/class/misc/hw_random/rng_current',
  'ls /dev/vsock /dev/hvc0 /dev/vda',
  'findmnt -n -o FSTYPE,OPTIONS /',
  "echo all 'looked at'",
];

// The lean kernel has no room for what systemd wants, and a software KVM no time.
it.runIf(guestName === 'stock')(
  'systemd comes up with nothing failed, networkd gets its lease, root logs in, and the machine switches itself off',
  async () => {
    await using vm = await VirtualMachine.create({
      ...GUEST,
      memory: '512M',
      cmdline: 'root=/dev/vda rw quiet systemd.show_status=1',
      disks: [{ source: await debianImage(), id: 'root', overlay: 'memory' }],
      net: { user: true },
      vsock: { cid: 3 },
      console: true,
      rng: true,
    });
    const console = recorded(vm);
    await vm.start();
    const within = { timeout: LIMIT };
    await vm.waitFor('typevisor login: ', within);
    vm.serial.write('root\n');
    await vm.waitFor('root@typevisor:~# ', within);
    vm.serial.write(`${LOOK.join('; ')}\n`);
    await vm.waitFor(DONE, within);
    const { text } = console;
    expect(text).toMatch(/^running\r?$/m);
    expect(text).not.toContain('.service loaded failed');
    expect(text).toMatch(/ inet 10\.0\.2\.\d+\/24 /);
    expect(text).toMatch(/ether +routable +configured/);
    expect(text).toMatch(/^virtio_rng/m);
    expect(text).toMatch(/^ext4 +rw/m);
    for (const device of ['/dev/vsock', '/dev/hvc0', '/dev/vda'])
      expect(text).toMatch(new RegExp(`^${device}\\b|\\s${device}\\s`, 'm'));
    vm.serial.write('systemctl poweroff\n');
    expect(await vm.exited).toMatchObject({ reason: 'poweroff', code: 0 });
  },
  3 * LIMIT,
);
