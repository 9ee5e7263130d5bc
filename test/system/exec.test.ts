/** Programs and files of a real guest whose first process is the agent. What the agent itself can do, conformance/agent.test.ts tells. */
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { guestName } from '../support/guest.js';
import { GUEST_LIMIT, INIT_ENDS_BY, startWithAgent } from '../support/guest-test.js';

/** The lean kernel has none: it is for where kernel code is slow, and each program that starts would pay for them. */
const GROUPS = guestName === 'stock';

it(
  'the agent is the first process: it mounts, runs programs, passes files, reaps, and ends with its machine',
  async () => {
    await using vm = await startWithAgent();
    expect(await vm.waitFor({ agent: true }, { timeout: GUEST_LIMIT - 10_000 })).toBe('agent 1');
    const first = await vm.exec(
      'read -r name < /proc/1/comm; echo $name; [ -c /dev/null ] && [ -d /sys/bus ] && exit 7',
    );
    expect(first).toMatchObject({ stdout: 'agent\n', stderr: '', exitCode: 7 });
    const bytes = randomBytes(100_000);
    const { stdoutBytes } = await vm.exec(['/bin/busybox', 'cat'], { stdin: bytes });
    expect(stdoutBytes.equals(bytes)).toBe(true);
    await expect(vm.exec(['/no/such/program'])).rejects.toMatchObject({ errnoName: 'ENOENT' });
    await expect(vm.exec('sleep 1000', { timeout: 3000 })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });

    const terminal = await vm.spawn(['/bin/busybox', 'stty', 'size'], { pty: { rows: 43, columns: 132 } });
    let text = '';
    terminal.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    expect(await terminal.exited).toEqual({ exitCode: 0, signal: null });
    expect(text).toBe('43 132\r\n');

    await vm.fs.writeFile('/tmp/data', bytes);
    expect(await vm.fs.stat('/tmp/data')).toMatchObject({ type: 'file', size: bytes.length });
    expect((await vm.fs.readFile('/tmp/data')).equals(bytes)).toBe(true);
    expect(await vm.fs.readdir('/tmp')).toContain('data');

    // As many at once, and as much through pipes, as an emulated kernel does in seconds.
    const count = guestName === 'stock' ? 40 : 20;
    const results = await Promise.all(
      Array.from({ length: count }, (_, index) => vm.exec(`echo ${index}; exit ${index}`)),
    );
    expect(results.map(({ stdout, exitCode }) => [stdout, exitCode])).toEqual(
      results.map((_, index) => [`${index}\n`, index]),
    );
    const many = randomBytes(guestName === 'stock' ? 4_000_000 : 1_000_000);
    const piped = await vm.exec(['/bin/busybox', 'cat'], {
      stdin: many,
      maxBuffer: 2 * many.length,
    });
    expect(piped.stdoutBytes.equals(many)).toBe(true);

    // A child that its parent has left behind is the agent's to bury.
    await vm.exec('(sleep 0.1 > /dev/null 2>&1 &)');
    await vm.exec('sleep 1');
    expect((await vm.exec('grep -l "^State:.Z" /proc/[0-9]*/status')).stdout).toBe('');

    const left = vm.exec('sleep 1000');
    left.catch(() => {});
    const running = await vm.spawn(['/bin/busybox', 'sleep', '1000']);
    await running.pid;
    await vm.kill();
    await expect(running.exited).rejects.toMatchObject({ code: 'ERR_GUEST_EXIT' });
    await expect(left).rejects.toMatchObject({ code: 'ERR_GUEST_EXIT' });
    await expect(vm.exec('true')).rejects.toMatchObject({ code: 'ERR_GUEST_EXIT' });
  },
  GUEST_LIMIT,
);

it(
  'what is killed takes along what it started, daemons where there are control groups; a program may end its machine',
  async () => {
    await using vm = await startWithAgent();
    const daemon = (name: string): string =>
      `(setsid sh -c 'echo $$ > /run/${name}; exec sleep 1000' > /dev/null 2>&1 < /dev/null &)`;
    const session = 'setsid sh -c "echo \\$\\$ > /run/session; sleep 1000" &';
    const until = 'while ! [ -s /run/daemon ] || ! [ -s /run/session ]; do sleep 0.05; done';
    const script = `${daemon('daemon')}; ${session} ${until}; echo all; sleep 1000`;
    const abort = new AbortController();
    const running = await vm.spawn(script, { signal: abort.signal });
    running.stdout.once('data', () => abort.abort());
    expect(await running.exited).toMatchObject({ signal: 'SIGKILL' });
    // Killed processes take a moment to be gone.
    const left =
      'sleep 0.5; for n in daemon session; do kill -0 "$(cat /run/$n)" 2> /dev/null && echo $n; done; true';
    expect((await vm.exec(left)).stdout).toBe(GROUPS ? '' : 'daemon\n');

    // A daemon whose program ended by itself stays, and its group goes when it does.
    await vm.exec(daemon('stays'), { check: true });
    const groups = 'grep -l "populated 1" /sys/fs/cgroup/typevisor-*/cgroup.events 2> /dev/null | wc -l';
    const wait = 'while ! [ -s /run/stays ]; do sleep 0.05; done';
    expect((await vm.exec(`${wait}; kill -0 "$(cat /run/stays)" && ${groups}`)).stdout).toBe(
      GROUPS ? '2\n' : '0\n',
    );
    await vm.exec('kill -9 "$(cat /run/stays)"; sleep 0.5', { check: true });
    expect((await vm.exec(groups)).stdout).toBe(GROUPS ? '1\n' : '0\n');

    const end = INIT_ENDS_BY === 'poweroff' ? 'poweroff -f' : 'reboot -f';
    // Its kernel takes the socket device down a moment before the machine ends.
    await expect(vm.exec(end)).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_(GUEST_EXIT|VSOCK_RESET)$/),
    });
    expect(await vm.exited).toMatchObject({ reason: INIT_ENDS_BY });
  },
  GUEST_LIMIT,
);
