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
  'a command reads our input, writes to our outputs, gets our SIGTERM, and its exit code is ours',
  async () => {
    const reads = 'while read -r line; do echo "got $line"; done; echo errors >&2';
    const waits = 'trap "echo bye; exit 42" TERM; echo ready; while :; do sleep 0.1; done';
    const result = await vmm([...OPTIONS, '--', '/bin/sh', '-c', `${reads}; ${waits}`], {
      input: 'one\ntwo\n',
      meanwhile: (child) => {
        let seen = '';
        child.stdout!.on('data', (text: string) => {
          const before = seen.includes('ready');
          seen += text;
          if (!before && seen.includes('ready')) child.kill('SIGTERM');
        });
      },
    });
    expect(result).toMatchObject({ code: 42, stdout: 'got one\ngot two\nready\nbye\n' });
    expect(result.stderr).toMatch(/errors\n/);
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
