/** VMs with names, from the outside: found, ended, and no trouble when their monitor is killed. */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { type Finished, vmm } from '../support/command.js';
import { Folder } from '../support/folder.js';
import { SPIN } from '../support/programs.js';

const folder = new Folder();
afterAll(() => folder[Symbol.dispose]());
const spin = folder.guest('spin', SPIN); // says "!" first
const env = { XDG_RUNTIME_DIR: folder.path };
const sockets = (): string[] =>
  readdirSync(join(folder.path, 'typevisor')).filter((name) => name !== '.lock');
const run = (...args: string[]): Promise<Finished> => vmm(args, { env, input: '' });

beforeEach(() => rmSync(join(folder.path, 'typevisor'), { recursive: true, force: true }));

/** Runs a VM of that name; `inside` begins when its guest runs. */
async function running(
  name: string,
  inside: (kill: (signal: NodeJS.Signals) => void) => Promise<void>,
): Promise<Finished> {
  let work: Promise<void> | undefined;
  const end = await vmm(['--flat', spin, '--name', name], {
    env,
    meanwhile: (child) =>
      child.stdout?.once('data', () => {
        work = inside((signal) => child.kill(signal)).catch((error: unknown) => {
          child.kill('SIGKILL');
          throw error;
        });
        work.catch(() => {});
      }),
  });
  await work;
  return end;
}

describe('a VM with a name', () => {
  it('is listed, keeps its name, and is ended by stop', async () => {
    const end = await running('web', async () => {
      const json = await run('ls', '--json');
      expect(JSON.parse(json.stdout)).toMatchObject({
        name: 'web',
        state: 'running',
        agent: 'none',
        runs: spin,
      });
      expect((await run('ls')).stdout).toMatch(
        /^NAME +PID +STATE +UP +AGENT +RUNS\nweb +\d+ +running +\d+s +no +\//,
      );
      expect(await run('--flat', spin, '--name', 'web')).toMatchObject({
        code: 64,
        stdout: '',
        stderr: 'vmm: --name: "web" is taken by a VM that runs (another name, or: vmm stop web)\n',
      });
      expect(await run('exec', 'web', '--', 'true')).toMatchObject({
        code: 64,
        stderr:
          'vmm: exec: "web" has no agent: it has no vsock (start it with --agent, or with --vsock and an agent of yours)\n',
      });
      expect(await run('stop', 'web')).toMatchObject({
        code: 0,
        stderr: 'vmm: stop: web: the guest cannot be asked to shut down and was killed\n',
      });
      expect(sockets()).toEqual([]);
    });
    expect(end).toMatchObject({ code: 0, stdout: '!' });
    expect(await run('ls', '-q')).toMatchObject({ code: 0, stdout: '' });
  });

  it('is killed without a word when that is what was asked for', async () => {
    const end = await running('web', async () => {
      expect(await run('stop', '--force', 'web')).toMatchObject({ code: 0, stdout: '', stderr: '' });
    });
    expect(end.code).toBe(0);
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('gives its name back when %s ends it', async (signal, code) => {
    expect((await running('web', async (kill) => kill(signal))).code).toBe(code);
    expect(sockets()).toEqual([]);
  });

  it('that was killed is in nobody’s way', async () => {
    expect((await running('web', async (kill) => kill('SIGKILL'))).signal).toBe('SIGKILL');
    expect(sockets()).toEqual(['web.sock']);
    expect(await run('stop', 'web')).toMatchObject({
      code: 69,
      stderr: 'vmm: stop: no VM named "web" runs (vmm ls shows those that do)\n',
    });
    const again = await running('web', async (kill) => {
      expect((await run('ls', '-q')).stdout).toBe('web\n');
      kill('SIGKILL');
    });
    expect(again.stdout).toBe('!');
    expect((await run('ls', '-q')).stdout).toBe('');
    expect(sockets()).toEqual([]);
  });
});

describe('a wrong word', () => {
  it.each([
    [['--flat', spin, '--name', '../web'], 64, /^vmm: --name: "\.\.\/web" will not do: up to 64 letters/],
    [['ls', 'web'], 64, /^vmm: ls: unexpected argument "web" \(try ls --help\)\n$/],
    [['exec'], 64, /^vmm: exec: which VM\? exec NAME -- COMMAND \(try exec --help\)\n$/],
    [['exec', 'web'], 64, /^vmm: exec: what to run\?/],
    [['exec', 'web', '--', 'true'], 69, /^vmm: exec: no VM named "web" runs/],
    [['exec', '-w'], 64, /^vmm: exec: --cwd needs a value/],
    [['cp', 'a'], 64, /^vmm: cp: from where to where\?/],
    [['cp', 'a', 'b'], 64, /^vmm: cp: one of them must be in a VM: NAME:\/path/],
    [['cp', 'a', 'web:b'], 64, /^vmm: cp: web:b: paths in a VM start with \//],
    [['cp', 'a', 'web:/b'], 69, /^vmm: cp: no VM named "web" runs/],
    [['stop'], 64, /^vmm: stop: which VM\?/],
    [['stop', '-t', 'soon', 'web'], 64, /^vmm: stop: --timeout: "soon" is no number of seconds/],
  ])('%j is told in one line', async (args, code, stderr) => {
    const result = await run(...args);
    expect(result).toMatchObject({ code, stdout: '' });
    expect(result.stderr).toMatch(stderr);
    expect(result.stderr.split('\n').length).toBe(2);
  });

  it.each(['ls', 'exec', 'cp', 'stop'])('%s --help is help', async (name) => {
    expect(await run(name, '--help')).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringContaining(`usage: node vmm.js ${name} `),
    });
  });
});
