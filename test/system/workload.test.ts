/** `-- COMMAND`: a program in the guest as this host's own. */
import { expect, it } from 'vitest';
import { vmm } from '../support/command.js';
import { guest } from '../support/guest.js';
import { GUEST_LIMIT } from '../support/guest-test.js';

const OPTIONS = [
  '--kernel',
  guest.kernel,
  '--initrd',
  guest.initrd,
  '--memory',
  '256M',
  '--cmdline',
  'quiet',
];

it(
  'a command reads our input, writes to our outputs, and its exit code is ours',
  async () => {
    const script = 'while read -r line; do echo "got $line"; done; echo errors >&2; exit 42';
    const result = await vmm([...OPTIONS, '--', '/bin/sh', '-c', script], { input: 'one\ntwo\n' });
    expect(result).toMatchObject({ code: 42, stdout: 'got one\ngot two\n' });
    expect(result.stderr).toMatch(/errors\n$/);
  },
  GUEST_LIMIT,
);

it(
  'SIGTERM goes to the command, which has the last word',
  async () => {
    const script = 'trap "echo bye; exit 5" TERM; echo ready; while :; do sleep 0.1; done';
    const result = await vmm([...OPTIONS, '--', '/bin/sh', '-c', script], {
      meanwhile: (child) => child.stdout?.once('data', () => child.kill('SIGTERM')),
    });
    expect(result).toMatchObject({ code: 5, stdout: 'ready\nbye\n' });
  },
  GUEST_LIMIT,
);

it(
  'a second signal does not wait for a command that does not listen',
  async () => {
    let told = 0;
    const result = await vmm([...OPTIONS, '--', '/bin/sh', '-c', 'trap "" TERM; echo ready; sleep 1000'], {
      meanwhile: (child) =>
        child.stdout?.once('data', () => {
          told = performance.now();
          child.kill('SIGTERM');
          setTimeout(() => child.kill('SIGTERM'), 300);
        }),
    });
    expect(result).toMatchObject({ code: 143, stdout: 'ready\n' });
    expect(performance.now() - told).toBeLessThan(5000);
  },
  GUEST_LIMIT,
);

it(
  'a command that is not there is told as by a shell',
  async () => {
    const result = await vmm([...OPTIONS, '--', 'no-such-program', '--version'], { input: '' });
    expect(result).toMatchObject({ code: 127, stdout: '' });
    expect(result.stderr).toMatch(/cannot start no-such-program: ENOENT/);
  },
  GUEST_LIMIT,
);
