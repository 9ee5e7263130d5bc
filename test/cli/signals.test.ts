/** SIGINT, SIGTERM and SIGHUP at every stage of the command. `vmm` itself checks that nothing is left. */
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { hasOpen, vcpuThreads, vmm } from '../support/command.js';
import { Folder } from '../support/folder.js';
import { elfImage, SMALL_ELF } from '../support/images.js';
import { flood, SPIN } from '../support/programs.js';

const folder = new Folder();
afterAll(() => folder[Symbol.dispose]());

const spin = folder.guest('spin', SPIN);
const kernel = folder.file('vmlinux', elfImage(SMALL_ELF));
const SIGNALS = [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const;

describe.each(SIGNALS)('%s', (signal, code) => {
  it('ends a guest that spins', async () => {
    const started = performance.now();
    const result = await vmm(['--flat', spin], {
      meanwhile: (child) => child.stdout?.once('data', () => child.kill(signal)),
    });
    expect(result).toMatchObject({ code, stdout: '!', stderr: '' });
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it.each([0, 15, 30, 45, 60, 90, 120])('%i ms after the start ends the command', async (delay) => {
    const result = await vmm(['--flat', spin], {
      meanwhile: (child) => setTimeout(() => child.kill(signal), delay),
    });
    // Before Node has set up the handler, the signal itself ends the process.
    expect(result.code === code || result.signal === signal).toBe(true);
    expect(result.stderr).toBe('');
  });

  it('ends the command while it loads a large initrd', async () => {
    const initrd = folder.zeros('large', 300 * 2 ** 20);
    const args = ['--kernel', kernel, '--initrd', initrd, '--memory', '512M', '--host-check', 'ignore'];
    const result = await vmm(args, {
      meanwhile: (child) =>
        void (async () => {
          while (!hasOpen(child.pid!, initrd)) await sleep(1);
          child.kill(signal);
        })(),
    });
    expect(result).toMatchObject({ code, stdout: '' });
  });

  it('ends the command while it waits for input to be taken', async () => {
    const result = await vmm(['--flat', spin], {
      input: new Uint8Array(2 ** 20),
      meanwhile: (child) => child.stdout?.once('data', () => setTimeout(() => child.kill(signal), 100)),
    });
    expect(result).toMatchObject({ code, stdout: '!', stderr: '' });
  });

  it.each([
    ['while the guest runs', Number.POSITIVE_INFINITY],
    ['after its end', 128 * 1024],
  ])('does not wait for a reader that never reads, %s', async (_, bytes) => {
    const pipe = folder.fullPipe();
    let sent = 0;
    const result = await vmm(['--flat', folder.guest('flood', flood(bytes))], {
      stdout: pipe.writing,
      meanwhile: (child) =>
        void (async () => {
          closeSync(pipe.writing);
          while (vcpuThreads(child.pid!) === 0) await sleep(5);
          if (Number.isFinite(bytes)) while (vcpuThreads(child.pid!) > 0) await sleep(20);
          else await sleep(300);
          sent = performance.now();
          child.kill(signal);
        })(),
    });
    expect(result.code).toBe(code);
    expect(performance.now() - sent).toBeLessThan(2000);
    closeSync(pipe.reading);
  });
});

describe('a second signal', () => {
  it('ends the command whatever it is doing', async () => {
    const result = await vmm(['--flat', spin], {
      meanwhile: (child) =>
        child.stdout?.once('data', () => {
          child.kill('SIGTERM');
          child.kill('SIGINT');
        }),
    });
    expect([130, 143]).toContain(result.code);
  });
});

describe('SIGKILL', () => {
  it('leaves no vCPU thread, no process and no file either', async () => {
    let before = 0;
    const result = await vmm(['--flat', spin], {
      meanwhile: (child) =>
        child.stdout?.once('data', () => {
          before = vcpuThreads(child.pid!);
          child.kill('SIGKILL');
        }),
    });
    expect(before).toBe(1);
    expect(result.signal).toBe('SIGKILL');
  });
});
