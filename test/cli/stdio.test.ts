/** Standard input and output of the command. */
import { once } from 'node:events';
import { closeSync, createReadStream, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { processesOf, vcpuThreads, vmm } from '../support/command.js';
import { Folder } from '../support/folder.js';
import { COUNTING, ECHO, flood } from '../support/programs.js';

const folder = new Folder();
afterAll(() => folder[Symbol.dispose]());

const KiB = 1024;

describe('standard input', () => {
  it('reaches the guest, and its end becomes Ctrl-D', async () => {
    const result = await vmm(['--flat', folder.guest('echo', ECHO)], { input: 'one line\n' });
    expect(result).toMatchObject({ code: 9, stdout: 'one line\n', stderr: '' });
  });

  it('that ends in the middle of a line ends in two, as a terminal needs them', async () => {
    const twice = ECHO.replace('je quit', 'je first').concat('\n first: mov al, 3\n out 0xf4, al');
    const result = await vmm(['--flat', folder.guest('twice', twice)], { input: 'no newline' });
    expect(result).toMatchObject({ code: 3, stdout: 'no newline' });
  });

  it('larger than every buffer arrives whole: the guest sums it up', async () => {
    const input = Uint8Array.from({ length: 20_000 }, (_, index) => 32 + ((index * 31) % 90));
    const sum = input.reduce((total, byte) => (total + byte) & 0xffff, 0);
    const result = await vmm(['--flat', folder.guest('counting', COUNTING)], { input });
    const stdout = String.fromCharCode(sum & 0xff, sum >>> 8);
    expect(result).toMatchObject({ code: 0, stdout, stderr: '' });
  });

  it('that is closed from the start is an end of input', async () => {
    const guest = folder.guest('echo', ECHO);
    const wrapper = ['sh', '-c', 'exec "$@" <&-', 'sh'];
    expect(await vmm(['--flat', guest], { wrapper })).toMatchObject({ code: 9, stdout: '', stderr: '' });
  });
});

describe('standard output', () => {
  it('that is closed ends the VM as it ends any program', async () => {
    const result = await vmm(['--flat', folder.guest('endless', flood(Number.POSITIVE_INFINITY))], {
      meanwhile: (child) => child.stdout?.once('data', () => child.stdout?.destroy()),
    });
    expect(result).toMatchObject({ code: 141, stderr: '' });
  });

  it('that is closed from the start is no output at all, as Node has it', async () => {
    const wrapper = ['sh', '-c', 'exec "$@" >&-', 'sh'];
    const result = await vmm(['--flat', folder.guest('flood', flood(64 * KiB))], { wrapper });
    expect(result).toMatchObject({ code: 5, stderr: '' });
  });

  /** Runs a flood into a pipe that is full, and that nobody reads before the guest's vCPU has ended. */
  const unread = async (bytes: number) => {
    const pipe = folder.fullPipe();
    let output = -pipe.length;
    let readAll: Promise<unknown> | undefined;
    const result = await vmm(['--flat', folder.guest('flood', flood(bytes))], {
      stdout: pipe.writing,
      meanwhile: (child) => {
        closeSync(pipe.writing);
        readAll = (async () => {
          while (vcpuThreads(child.pid!) === 0) await sleep(5);
          while (vcpuThreads(child.pid!) > 0) await sleep(20);
          const reader = createReadStream(pipe.path).on('data', ({ length }) => {
            output += length;
          });
          reader.once('open', () => closeSync(pipe.reading)); // not before: there must always be a reader
          await once(reader, 'end');
        })();
      },
    });
    await readAll; // the command ends when the pipe has its last bytes, not when they were read
    return { ...result, output };
  };

  it('that nobody reads does not stall the guest, and is not lost', async () => {
    const { code, stderr, output } = await unread(128 * KiB);
    expect({ code, stderr, output }).toEqual({ code: 5, stderr: '', output: 128 * KiB });
  });

  it('that nobody reads for longer loses its oldest part, which is told', async () => {
    const { code, stderr, output } = await unread(448 * KiB);
    expect(code).toBe(5);
    const dropped = /^vmm: (\d+) bytes of console output were dropped: nobody read them in time\n$/.exec(
      stderr,
    );
    expect(dropped).not.toBeNull();
    expect(Number(dropped![1]) + output).toBe(448 * KiB);
    expect(output).toBeGreaterThan(256 * KiB);
  });

  it('on a full disk is an error, and the VM ends', async () => {
    const full = openSync('/dev/full', 'w');
    const result = await vmm(['--flat', folder.guest('endless', flood(Number.POSITIVE_INFINITY))], {
      stdout: full,
    });
    closeSync(full);
    expect(result.stderr).toMatch(/^vmm: cannot write the console: .*no space left/im);
    expect(result.code).toBe(74);
  });

  it('is for the guest alone: with --json the monitor speaks JSON on standard error', async () => {
    const result = await vmm(['--flat', folder.guest('flood', flood(64 * KiB)), '--json', '--verbose'], {
      input: '',
    });
    expect(result.stdout).toHaveLength(64 * KiB);
    const last = JSON.parse(result.stderr.trimEnd().split('\n').at(-1)!) as Record<string, unknown>;
    expect(last).toMatchObject({ event: 'exit', reason: 'exit', exitCode: 5 });
    expect(last['stats']).toHaveProperty('phases.started');
  });
});

describe('a test of the command', () => {
  it('notices what is left behind', async () => {
    let group = 0;
    const leaving = vmm(['--version'], {
      wrapper: ['sh', '-c', 'sleep 60 >/dev/null 2>&1 & exec "$@"', 'sh'],
      meanwhile: (child) => {
        group = child.pid!;
      },
    });
    await expect(leaving).rejects.toThrow(/left behind: process \d+$/);
    process.kill(-group, 'SIGKILL');
    while (processesOf(group).length > 0) await sleep(5);
    const littering = vmm(['--version'], { wrapper: ['sh', '-c', ': > $TMPDIR/litter; exec "$@"', 'sh'] });
    await expect(littering).rejects.toThrow('left behind: litter');
  });
});
