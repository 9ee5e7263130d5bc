/** kill -9 of the monitor while its guest writes: what was synced is there, and the image is free for the next. */
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { afterAll, expect, it } from 'vitest';
import { FileDisk, VirtualMachine } from '../../src/index.js';
import { vmm } from '../support/command.js';
import { GUEST, guest } from '../support/guest.js';
import { GUEST_LIMIT, scripted } from '../support/guest-test.js';
import { CHECK, durable, JOURNAL, lastDurable } from '../support/journal.js';
import { scratch } from '../support/scratch.js';

/** For each of the two guests, ms. */
const HALF = GUEST_LIMIT / 2;
const folder = scratch();
afterAll(() => folder[Symbol.dispose]());

it(
  'what was synced is there after kill -9 of the command in the middle of writing, and the lock is gone',
  async () => {
    const path = folder.path('journal.img');
    writeFileSync(path, '');
    truncateSync(path, 64 * 2 ** 20);
    execFileSync('mke2fs', ['-q', '-t', 'ext4', path]);
    const initrd = folder.path('initrd');
    writeFileSync(initrd, scripted(JOURNAL));
    const boot = ['--kernel', guest.kernel, '--initrd', initrd, '--memory', String(GUEST.memory)];
    const limit = ['--timeout', String(HALF / 1000)];
    const { stdout, signal } = await vmm([...boot, ...limit, '--disk', path, '--cmdline', 'quiet'], {
      meanwhile: (child) => {
        let text = '';
        child.stdout!.on('data', (chunk: string) => {
          text += chunk;
          // In the middle of the next file.
          if (lastDurable(text) >= 3) setTimeout(() => child.kill('SIGKILL'), 20 + 100 * Math.random());
        });
      },
    });
    expect(signal, stdout).toBe('SIGKILL');
    const last = lastDurable(stdout);
    expect(last).toBeGreaterThanOrEqual(3);

    await (await FileDisk.open(path)).close(); // within its patience
    const cmdline = `${GUEST.cmdline} ${durable(last)}`;
    await using vm = await VirtualMachine.create({
      ...GUEST,
      cmdline,
      disks: [{ source: path }],
      initrd: scripted(CHECK),
    });
    vm.serial.resume();
    await vm.start();
    await vm.waitFor(`found ${last}`, { timeout: HALF });
    await vm[Symbol.asyncDispose]();
    execFileSync('e2fsck', ['-f', '-n', path], { stdio: 'pipe' });
  },
  GUEST_LIMIT + 10_000,
);
