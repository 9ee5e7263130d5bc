/** Programs and files of a real guest whose first process is the agent. What the agent itself can do, conformance/agent.test.ts tells. */
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { GUEST_LIMIT, INIT_ENDS_BY, startWithAgent } from '../support/guest-test.js';

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
  'a program may end its machine, and exec tells',
  async () => {
    await using vm = await startWithAgent();
    const end = INIT_ENDS_BY === 'poweroff' ? 'poweroff -f' : 'reboot -f';
    // Its kernel takes the socket device down a moment before the machine ends.
    await expect(vm.exec(end)).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_(GUEST_EXIT|VSOCK_RESET)$/),
    });
    expect(await vm.exited).toMatchObject({ reason: INIT_ENDS_BY });
  },
  GUEST_LIMIT,
);
