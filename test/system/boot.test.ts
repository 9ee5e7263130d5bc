/** From the first instruction to a shell, by every way in that this host has; and what the monitor says of it. */
import { expect, it } from 'vitest';
import { VirtualMachine } from '../../src/index.js';
import { bootToShell, GUEST, guest, guestName, PROMPT, stockFile } from '../support/guest.js';
import { GUEST_LIMIT, guestTest, INIT_ENDS_BY } from '../support/guest-test.js';

it(
  'boots to a shell that greets, answers, knows the time, and ends the machine',
  async () => {
    await using vm = await VirtualMachine.start(GUEST);
    let bytes = 0;
    vm.serial.on('data', ({ length }: Buffer) => {
      bytes += length;
    });
    const greeting = await vm.waitFor(PROMPT, { timeout: GUEST_LIMIT });
    expect(greeting).toMatch(new RegExp(`^ *kernel +Linux ${guest.release}\\r$`, 'm'));
    expect(greeting).toMatch(/^ *cpu +1 x .*\S\r$/m);
    const [, memory] = /^ *memory +(\d+) MB\r$/m.exec(greeting)!;
    expect(Number(memory)).toBeGreaterThan(80);
    const [, seconds] = /^ *power-on +([\d.]+) s ago\r$/m.exec(greeting)!;
    expect(Number(seconds) * 1000).toBeLessThan(vm.stats().uptimeMs);

    const answer = async (command: string): Promise<string> => {
      vm.serial.write(`echo "<$(${command})>"\n`);
      return /<(.*)>\r\n$/.exec(await vm.waitFor(/^<.*>\r\n/m, { timeout: GUEST_LIMIT }))![1]!;
    };
    expect(await answer('uname -r')).toBe(guest.release);
    // The guest's clock was set from the RTC when it booted. Until it trusts the TSC it counts ticks, and an emulated kernel
    // on a busy host misses some.
    const missed = Number(seconds) / 10;
    const before = Date.now() / 1000;
    const time = Number(await answer('date +%s'));
    expect(time).toBeGreaterThanOrEqual(before - 2 - missed);
    expect(time).toBeLessThanOrEqual(Date.now() / 1000 + 2);

    vm.serial.write('exit\n');
    expect(await vm.exited).toMatchObject({ reason: INIT_ENDS_BY, code: 0 });
    const { phases, serial, exits, uptimeMs } = vm.stats();
    const order = ['planned', 'created', 'loaded', 'ready', 'started', 'first-output'] as const;
    const times = order.map((phase) => phases[phase]!);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(phases['first-output']).toBeLessThan(uptimeMs);
    expect(serial).toEqual({ bytes, dropped: 0 });
    // Every byte written left by the register page, but for the few of the driver's start.
    expect(exits['page']).toBeGreaterThan(bytes);
    expect(exits['pio']).toBeGreaterThan(0);
  },
  GUEST_LIMIT,
);

/**
 * The CPU, the interrupts and the memory work: for boots that differ only in how they begin, which the guest knows from its
 * boot parameters' type_of_loader (boot.rst): ff is ours, b0 what the kernel's own PVH entry fills in.
 */
const works = (loader: string): string => `
  is loader "$(dd if=/sys/kernel/boot_params/data bs=1 skip=528 count=1 2> /dev/null | od -An -tx1)" " ${loader}"
  is release "$(uname -r)" ${guest.release}
  grep -q 'console=ttyS0' /proc/cmdline || fail "command line: $(cat /proc/cmdline)"
  head -c 1000000 /dev/zero > /tmp/zeros
  is sum "$(md5sum < /tmp/zeros)" "879f4bba57ed37c9ec5e5aedf9864698  -"
  sleep 0.1`;

guestTest('boots by the 64-bit protocol', { config: { boot: 'linux64' }, guest: works('ff') });

guestTest('boots through PVH', {
  config: { boot: 'pvh' },
  guest: works('b0'),
});

if (guestName === 'stock') {
  guestTest("boots a bzImage by its 64-bit entry, by the distribution's own bytes", {
    config: { kernel: stockFile('bzImage') },
    guest: works('ff'),
  });
}

guestTest('tells the boot timer when it has booted', {
  guest: 'devmem 0xc0000000 8 123',
  after({ vm }) {
    const { phases, uptimeMs } = vm.stats();
    expect(phases.booted).toBeGreaterThan(phases.started!);
    expect(phases.booted).toBeLessThan(uptimeMs);
    expect(vm.stats().addresses['mmio 0xc000_0000 boot-timer']).toBe(1);
  },
});

it(
  'passes the command line and the initrd on as they are',
  async () => {
    const cmdline = `quiet typevisor.test="a b" ${'x'.repeat(400)}`;
    await using vm = await bootToShell({ cmdline });
    vm.serial.write('cat /proc/cmdline; ls -d /etc/profile\n');
    expect(await vm.waitFor('\n/etc/profile\r\n', { timeout: GUEST_LIMIT })).toContain(`${cmdline} `);
    expect(vm.cmdline!.startsWith(`${cmdline} `)).toBe(true);
  },
  GUEST_LIMIT,
);
