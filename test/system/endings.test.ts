/** How a real guest's end is told: the reason and the exit code. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { VirtualMachine } from '../../src/index.js';
import { GUEST, guestName } from '../support/guest.js';
import { GUEST_LIMIT, guestTest } from '../support/guest-test.js';

guestTest('poweroff is an end with code 0', {
  guest: 'poweroff -f; sleep 100',
  exit: { reason: 'poweroff', code: 0 },
});

guestTest('reboot is an end with code 0: nothing starts again', {
  guest: 'reboot -f; sleep 100',
  exit: { reason: 'reboot', code: 0 },
});

guestTest('a panic is an end with code 71, in the words of the kernel', {
  guest: 'echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger; sleep 100',
  exit: { reason: 'panic', code: 71, message: "the guest's kernel panicked: sysrq triggered crash" },
  after({ console }) {
    expect(console).toContain('Kernel panic - not syncing: sysrq triggered crash');
  },
});

it(
  'a kernel without an /init panics',
  async () => {
    await using vm = await VirtualMachine.start({ ...GUEST, cmdline: 'quiet rdinit=/nowhere' });
    const exit = await vm.exited;
    expect(exit).toMatchObject({ reason: 'panic', code: 71 });
    expect(exit.message).toMatch(/No working init found|Unable to mount root fs|root/);
  },
  GUEST_LIMIT,
);

it(
  'the time limit ends a guest that boots, with code 124',
  async () => {
    await using vm = await VirtualMachine.start({ ...GUEST, timeouts: { run: 500 } });
    expect(await vm.exited).toMatchObject({ reason: 'timeout', code: 124 });
    expect(vm.stats().uptimeMs).toBeLessThan(5000);
  },
  GUEST_LIMIT,
);

it(
  `kill() ends a ${guestName} guest at any moment of its boot`,
  async () => {
    for (const delay of [0, 20, 100, 400, 1000]) {
      const vm = await VirtualMachine.start({ ...GUEST, cpus: 2 });
      await sleep(delay);
      const started = performance.now();
      expect(await vm.kill()).toMatchObject({ reason: 'killed', code: 0 });
      expect(performance.now() - started).toBeLessThan(2000);
    }
  },
  GUEST_LIMIT,
);
