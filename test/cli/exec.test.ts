/** `exec NAME -- COMMAND` as somebody who types sees it, and a pipe: the agent runs on this host, so no guest is needed. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VMM, vmm } from '../support/command.js';
import { compileC } from '../support/compile.js';
import { gone } from '../support/host-agent.js';
import { NamedAgent } from '../support/named-agent.js';
import { Terminal } from '../support/terminal.js';

let named: NamedAgent;
let pty: string;
beforeAll(async () => {
  named = new NamedAgent();
  await named.serve('web');
  pty = compileC(join(import.meta.dirname, '../support/pty.c'), join(named.host.folder, 'pty'), ['-lutil']);
});
afterAll(() => named[Symbol.asyncDispose]());

const sh = (script: string): string[] => ['exec', 'web', '--', '/bin/sh', '-c', script];
const open = (...args: string[]): Terminal => new Terminal(pty, [process.execPath, VMM, ...args]);
const onOutput = (act: (child: ChildProcess) => void) => (child: ChildProcess) =>
  void child.stdout?.once('data', () => act(child));

describe('in a terminal', () => {
  it('the program has one of its own, as large as ours, now and later; its exit code is ours', async () => {
    await using terminal = open(...sh('stty -echo; stty size; read x; stty size; echo "$x $TERM"; exit 7'));
    const before = await terminal.mode();
    await terminal.shows('24 80');
    for (const setting of ['icanon', 'echo', 'isig']) expect(await terminal.has(setting)).toBe(false);
    execFileSync('stty', ['rows', '50', 'cols', '132', '-F', await terminal.path]);
    await sleep(200); // the size goes to the program by itself; when, nobody tells
    terminal.type('typed\r');
    await terminal.shows('50 132');
    await terminal.shows('typed vt100');
    expect(await terminal.ended).toBe('exit 7');
    expect(await terminal.mode()).toBe(before);
  });

  it('Ctrl-C reaches the program and not us; the terminal is given back', async () => {
    await using terminal = open(
      ...sh('trap "echo caught; exit 4" INT; echo ready; while :; do sleep 0.1; done'),
    );
    const before = await terminal.mode();
    await terminal.shows('ready');
    terminal.type('\x03');
    await terminal.shows('caught');
    expect(await terminal.ended).toBe('exit 4');
    expect(await terminal.mode()).toBe(before);
  });

  it('a program that Ctrl-C ends is told as by a shell', async () => {
    await using terminal = open(...sh('echo ready; exec sleep 1000'));
    await terminal.shows('ready');
    terminal.type('\x03');
    expect(await terminal.ended).toBe('exit 130');
  });

  it('Ctrl-D ends what the program reads', async () => {
    await using terminal = open(...sh('stty -echo; echo ready; cat; echo over'));
    await terminal.shows('ready');
    terminal.type('line\r\x04');
    await terminal.shows('line');
    await terminal.shows('over');
    expect(await terminal.ended).toBe('exit 0');
  });

  it('one that hangs up ends the program', async () => {
    await using terminal = open(...sh('echo "pid $$ ."; exec sleep 1000'));
    await terminal.shows(' .');
    const pid = Number(/pid (\d+) /.exec(terminal.shown)![1]);
    await terminal.hangUp();
    expect(await gone(pid)).toBe(true);
  });

  it('--no-tty leaves it without, and the terminal as it was', async () => {
    await using terminal = open('exec', '-T', 'web', '--', '/bin/sh', '-c', 'tty; echo over; sleep 1000');
    await terminal.shows('not a tty\r\nover'); // made by our terminal alone
    for (const setting of ['icanon', 'echo', 'isig']) expect(await terminal.has(setting)).toBe(true);
    terminal.type('\x03'); // which is SIGINT to us, and goes on to the program
    expect(await terminal.ended).toBe('exit 130');
  });
});

describe('in a pipe', () => {
  it('input and outputs are the same bytes, of any value and number', async () => {
    const bytes = randomBytes(5_000_000);
    const output = join(named.host.folder, 'output');
    const result = await vmm(['exec', 'web', '--', '/bin/sh', '-c', `tee ${output}; echo e >&2; exit 3`], {
      input: bytes,
    });
    expect(Buffer.from(result.stdout, 'latin1').equals(bytes)).toBe(true);
    expect(readFileSync(output).equals(bytes)).toBe(true);
    expect(result).toMatchObject({ code: 3, stderr: 'e\n' });
  });

  it('a reader that goes away ends both', async () => {
    const { code, stderr } = await vmm(sh('yes'), {
      input: '',
      meanwhile: onOutput((child) => child.stdout!.destroy()),
    });
    expect([code, stderr]).toEqual([141, '']);
  });

  it.each(['SIGTERM', 'SIGHUP', 'SIGUSR1'] as const)('%s goes to the program', async (signal) => {
    const script = `trap "echo ${signal}; exit 5" ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`;
    const result = await vmm(sh(script), { meanwhile: onOutput((child) => child.kill(signal)) });
    expect(result).toMatchObject({ code: 5, stdout: `ready\n${signal}\n` });
  });

  it('a program that does not listen is killed when we are told for the third time', async () => {
    let pid = 0;
    const result = await vmm(sh('trap "" TERM INT; echo $$; while :; do sleep 0.05; done'), {
      meanwhile: (child) =>
        void child.stdout!.once('data', (text: string) => {
          pid = Number(text);
          for (const delay of [0, 150, 300]) setTimeout(() => child.kill('SIGTERM'), delay);
        }),
    });
    expect(result.code).toBe(143);
    expect(await gone(pid)).toBe(true);
  });
});
