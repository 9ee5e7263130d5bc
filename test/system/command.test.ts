/** `node vmm.js` with a Linux guest, as a user runs it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { vcpuThreads, vmm } from '../support/command.js';
import { guest, guestName } from '../support/guest.js';
import { GUEST_LIMIT } from '../support/guest-test.js';

const ARGS = ['--kernel', guest.kernel, '--initrd', guest.initrd, '--cmdline', 'quiet'];

/** Said once where guest kernel code is emulated. */
const NOTICE =
  /^vmm: this host's KVM emulates guest kernel code; added to the command line: noxsave clearcpuid=\S+ .*\n$/;

it(
  'runs what is piped into the shell, from the first byte on, and ends with it',
  async () => {
    const result = await vmm([...ARGS, '--memory', '256M'], {
      input: 'echo "six times seven is $((6 * 7))"\nuname -r | tr . _\nfalse\n',
    });
    expect(result.stdout).toContain('six times seven is 42\r\n');
    expect(result.stdout).toContain(`${guest.release.replaceAll('.', '_')}\r\n`);
    expect(result.code).toBe(0);
    if (guestName === 'lean') expect(result.stderr).toMatch(NOTICE);
    else expect(result.stderr).toBe('');
  },
  GUEST_LIMIT,
);

it(
  'ends when the shell is told poweroff, as anybody would write it',
  async () => {
    const input = 'echo $((6 * 7)) before\npoweroff\necho $((6 * 7)) after\n';
    const result = await vmm([...ARGS, '--memory', '256M', '--json'], { input });
    expect(result.stdout).toContain('42 before');
    expect(result.stdout).not.toContain('42 after');
    const last = JSON.parse(result.stderr.trimEnd().split('\n').at(-1)!) as Record<string, unknown>;
    expect(last).toMatchObject({ event: 'exit', reason: 'poweroff', exitCode: 0 });
  },
  GUEST_LIMIT,
);

it(
  'tells of a panic in one line, with code 71',
  async () => {
    const result = await vmm(
      ['--kernel', guest.kernel, '--cmdline', 'quiet rdinit=/nowhere', '--json', '--memory', '128M'],
      { input: '' },
    );
    const last = JSON.parse(result.stderr.trimEnd().split('\n').at(-1)!) as Record<string, unknown>;
    expect(last).toMatchObject({ event: 'exit', reason: 'panic', exitCode: 71 });
    expect(result.code).toBe(71);
  },
  GUEST_LIMIT,
);

it(
  'asks the guest first when SIGTERM ends it, and tells if it could not be asked',
  async () => {
    const result = await vmm([...ARGS, '--memory', '256M', '--json'], {
      meanwhile: (child) => {
        let seen = '';
        child.stdin!.write('echo $((6 * 7)) is up\n');
        child.stdout!.on('data', (text: string) => {
          const before = seen.includes('42 is up');
          seen += text;
          if (!before && seen.includes('42 is up')) child.kill('SIGTERM');
        });
      },
    });
    expect(result.code).toBe(143);
    const said = result.stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const killed = 'the guest cannot be asked to shut down and was killed';
    const asked = guestName === 'stock';
    // A guest that is emulated under load may not be done within the command's ten seconds; it was asked all the same.
    expect(said.at(-1)).toMatchObject({
      event: 'exit',
      reason: asked ? expect.stringMatching(/^(poweroff|killed)$/) : 'killed',
      exitCode: 143,
    });
    expect(said.some(({ event, message }) => event === 'notice' && message === killed)).toBe(!asked);
  },
  GUEST_LIMIT,
);

it(
  'is ended by a signal in the middle of a boot, and leaves nothing',
  async () => {
    for (const [signal, code] of [
      ['SIGTERM', 143],
      ['SIGINT', 130],
      ['SIGHUP', 129],
    ] as const) {
      let ended = 0;
      const result = await vmm([...ARGS, '--cpus', '2', '--json'], {
        meanwhile: (child) =>
          void (async () => {
            while (vcpuThreads(child.pid!) < 2) await sleep(5);
            await sleep(300);
            ended = performance.now();
            child.kill(signal);
          })(),
      });
      expect(result.code).toBe(code);
      expect(performance.now() - ended).toBeLessThan(3000);
    }
  },
  GUEST_LIMIT,
);
