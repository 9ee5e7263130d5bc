/** exec, cp and stop with a Linux guest that another process runs. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { VMM, vmm } from '../support/command.js';
import { guest } from '../support/guest.js';
import { GUEST_LIMIT } from '../support/guest-test.js';
import { scratch } from '../support/scratch.js';

const VM = ['--kernel', guest.kernel, '--initrd', guest.initrd, '--memory', '256M', '--cmdline', 'quiet'];

it(
  'programs and files of a VM with a name, and its end',
  async () => {
    using place = scratch();
    const env = { XDG_RUNTIME_DIR: place.folder };
    const run = (args: readonly string[], input: string | Uint8Array = '') => vmm(args, { env, input });
    let work: Promise<void> | undefined;
    const inside = async (): Promise<void> => {
      while (!(await run(['ls', '-q'])).stdout.includes('web')); // it loads its images first

      // It waits for the guest to boot; input, outputs, folder, user, environment and exit code are passed on.
      const script = 'cat; echo $A; pwd; id -u; echo errors >&2; exit 3';
      const options = ['-e', 'A=b', '--cwd', '/tmp', '--user', '1000:1000'];
      const first = await run(['exec', ...options, 'web', '--', '/bin/sh', '-c', script], 'input\n');
      expect(first).toMatchObject({ code: 3, stdout: 'input\nb\n/tmp\n1000\n', stderr: 'errors\n' });
      expect(await run(['exec', 'web', 'no-such-program'])).toMatchObject({
        code: 127,
        stderr: expect.stringMatching(/^vmm: exec: cannot start no-such-program: ENOENT\n$/),
      });

      // A signal goes to the program, which has the last word.
      const trap = 'trap "exit 9" INT; echo ready; while :; do sleep 0.1; done';
      const child = spawn(process.execPath, [VMM, 'exec', 'web', '--', '/bin/sh', '-c', trap], {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const over = once(child, 'close');
      await once(child.stdout, 'data');
      child.kill('SIGINT');
      expect(await over).toEqual([9, null]);

      const bytes = randomBytes(3_000_001);
      mkdirSync(place.path('there/sub'), { recursive: true });
      writeFileSync(place.path('there/sub/random'), bytes, { mode: 0o750 });
      expect(await run(['cp', place.path('there'), 'web:/tmp/copy'])).toMatchObject({ code: 0, stderr: '' });
      const mode = await run(['exec', 'web', '--', '/bin/sh', '-c', 'ls -l /tmp/copy/sub']);
      expect(mode.stdout).toMatch(/-rwxr-x--- .* random/);
      expect(await run(['cp', 'web:/tmp/copy', place.path('back')])).toMatchObject({ code: 0, stderr: '' });
      expect(readFileSync(place.path('back/sub/random')).equals(bytes)).toBe(true);
      expect((await run(['cp', '-', 'web:/tmp/typed'], 'typed\n')).code).toBe(0);
      expect((await run(['cp', 'web:/tmp/typed', '-'])).stdout).toBe('typed\n');
      expect(await run(['cp', 'web:/no/such', '-'])).toMatchObject({
        code: 66,
        stderr: 'vmm: cp: no such file: /no/such\n',
      });

      expect(await run(['stop', '--timeout', '60', 'web'])).toMatchObject({ code: 0, stderr: '' });
    };
    const end = await vmm([...VM, '--name', 'web'], {
      env,
      meanwhile: (monitor) => {
        work = inside();
        // Once `stop` has returned the monitor ends by itself.
        work.catch(() => monitor.kill());
      },
    });
    await work;
    expect(end.code).toBe(0);
    expect(end.stderr).toMatch(/the guest's first process is the agent/);
  },
  GUEST_LIMIT,
);
