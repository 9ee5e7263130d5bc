/** The rig by its behaviour: each test starts a machine (3 to 5 s). Node starts slowly inside, so the commands are small ones. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { rigAvailable, runInRig } from './rig.js';

const folder = mkdtempSync(join(tmpdir(), 'typevisor-rig-test.'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Makes a virtual machine with a vCPU by hand and prints the API's version: KVM_CREATE_VM, _CREATE_VCPU, _GET_API_VERSION. */
const MAKE_VM = `
  open(my $kvm, '+<', '/dev/kvm') or die "/dev/kvm: $!";
  my $fd = ioctl($kvm, 0xAE01, 0) or die "KVM_CREATE_VM: $!";
  open(my $vm, '+<&=', int $fd) or die "fd $fd: $!";
  ioctl($vm, 0xAE41, 0) or die "KVM_CREATE_VCPU: $!";
  print ioctl($kvm, 0xAE00, 0);`;

/** Processes and run folders of the rig that runs as process `pid`. Its folder's name is in the arguments of each. */
function tracesOf(pid: number): string[] {
  const name = `typevisor-rig-${pid}-`;
  const processes = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((entry) => commandLine(entry).includes(name));
  return [...processes, ...readdirSync('/tmp').filter((entry) => entry.startsWith(name))];
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch (error) {
    // It ended meanwhile.
    if (['ENOENT', 'ESRCH'].includes(String((error as NodeJS.ErrnoException).code))) return '';
    throw error;
  }
}

async function eventually(what: string, check: () => boolean, limitMs = 30_000): Promise<void> {
  const limit = performance.now() + limitMs;
  while (!check()) {
    if (performance.now() > limit) throw new Error(`never happened: ${what}`);
    await sleep(50);
  }
}

/** The command line's own process, with a command inside that has started. */
async function runningRig(): Promise<ReturnType<typeof spawn> & { pid: number }> {
  const main = join(import.meta.dirname, 'main.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', main, 'sh', '-c', 'echo started; sleep 1000'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return child as typeof child & { pid: number };
}

describe.skipIf(!rigAvailable())('the rig', () => {
  test('keeps output and errors apart, passes input and its end, and returns the status', async () => {
    const command = ['sh', '-c', 'wc -c; echo wrong >&2; exit 7'];
    const { status, stdout, stderr } = await runInRig(command, { input: 'x'.repeat(300_000) });
    expect({ status, stdout, stderr }).toEqual({ status: 7, stdout: '300000\n', stderr: 'wrong\n' });
  });

  test('has a KVM that makes virtual machines', async () => {
    const { status, stdout, stderr } = await runInRig(['perl', '-e', MAKE_VM]);
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '12', stderr: '' });
  });

  test('passes on everything that was written before the command ended', async () => {
    const { status, stdout } = await runInRig(['seq', '300000']);
    expect(status).toBe(0);
    expect(stdout).toBe(Array.from({ length: 300_000 }, (_, index) => `${index + 1}\n`).join(''));
  });

  test('keeps changes only below the folders it was given', async () => {
    const kept = mkdtempSync(join(folder, 'kept.'));
    writeFileSync(join(folder, 'file'), 'before');
    const script = `echo inside > '${kept}/new'; echo inside > '${folder}/file'; cat '${folder}/file'`;
    const { stdout } = await runInRig(['sh', '-c', script], { rw: [kept] });
    expect(stdout).toBe('inside\n');
    expect(readFileSync(join(kept, 'new'), 'utf8')).toBe('inside\n');
    expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('before');
  });

  test('counts a machine in which nothing is printed any more as failed', async () => {
    const { status, stdout, stderr } = await runInRig(['sh', '-c', 'sleep 2; echo once; sleep 1000'], {
      silence: 4,
    });
    expect({ status, stdout }).toEqual({ status: 125, stdout: 'once\n' });
    expect(stderr).toContain('the command printed nothing for 4 s');
  });

  test('kills a command at its limit, says so, and counts the one repeat', async () => {
    const { status, stderr, repeats } = await runInRig(['sleep', '1000'], { timeout: 1 });
    expect({ status, repeats }).toEqual({ status: 124, repeats: 1 });
    expect(stderr).toBe('rig: the command was killed after 1 s\n');
  });

  test('reports a command that a signal killed as 128 and the signal', async () => {
    const { status, repeats } = await runInRig(['sh', '-c', 'kill -TERM $$']);
    expect({ status, repeats }).toEqual({ status: 143, repeats: 0 });
  });

  test('does not wait for what the command left running', async () => {
    const { status, stdout } = await runInRig(['sh', '-c', 'sleep 1000 & echo done'], { timeout: 60 });
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'done\n' });
  });

  test('ends with everything it started when it is interrupted', async () => {
    const child = await runningRig();
    expect(tracesOf(child.pid).length).toBeGreaterThan(2);
    child.kill('SIGINT');
    const [status] = await once(child, 'exit');
    expect(status).toBe(130);
    expect(tracesOf(child.pid)).toEqual([]);
  });

  test('leaves no process when it is killed, and the next rig removes its folder', async () => {
    const child = await runningRig();
    const isFolder = (trace: string): boolean => trace.startsWith('typevisor-rig-');
    const left = tracesOf(child.pid).find(isFolder);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await eventually('the processes end', () => tracesOf(child.pid).every(isFolder));
    expect(existsSync(join('/tmp', left!))).toBe(true);
    await runInRig(['true']);
    expect(existsSync(join('/tmp', left!))).toBe(false);
  });
});
