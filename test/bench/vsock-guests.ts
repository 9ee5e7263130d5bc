/**
 * A Linux guest that measures its sockets to the host, under any monitor: one boot, every job. The same kernel, initramfs and program
 * for all; what differs is who answers on the host, and how the connections come there.
 * Runs on: main; the guests in processes of their own.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type JobBoot, measureJobs, noJob } from './guest-jobs.js';
import { VirtualMachine } from './library.js';
import { qemuVsock } from './qemu.js';
import { quietEnvironment } from './stopwatch.js';
import { VSOCK_JOBS } from './vsock-jobs.js';

const VMM = join(import.meta.dirname, '../../vmm.js');
const HOST = fileURLToPath(new URL('./inside/vsock-host.ts', import.meta.url));
const CID = 42;
/**
 * `api`: the host's end is the embedder of our monitor; `unix`: programs of the host, on the Unix sockets of our monitor; `vhost`:
 * the same programs on the host's AF_VSOCK, and QEMU.
 */
export const VSOCK_MONITORS = ['api', 'unix', 'vhost'] as const;
export type VsockMonitor = (typeof VSOCK_MONITORS)[number];

/** Paths are absolute. */
export interface VsockPlan {
  readonly guest: 'lean' | 'stock';
  readonly kernel: string;
  readonly initrd: string;
  readonly memoryMib: number;
  /** peers/vsock.c, for the host's end. */
  readonly program: string;
  /** Of one boot with all its jobs, ms; what has come until then counts. */
  readonly limitMs: number;
  /** For sockets. */
  readonly folder: string;
}

/** One boot. A job that fails has its reason in the result. */
export async function measureVsock(plan: VsockPlan, monitor: VsockMonitor): Promise<JobBoot> {
  const running: ChildProcess[] = [];
  const start = (file: string, args: readonly string[]): ChildProcess => {
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: quietEnvironment() });
    child.on('error', () => {}); // it never says anything, which is told below
    running.push(child);
    return child;
  };
  const path = join(plan.folder, `vsock-${process.pid}-${Date.now()}`);
  try {
    if (monitor === 'vhost') execFileSync('modprobe', ['-a', 'vhost_vsock'], { stdio: 'pipe' });
    if (monitor !== 'api') {
      const server = start(plan.program, monitor === 'unix' ? ['serve', path] : ['serve']);
      const [line] = (await Promise.race([
        once(createInterface({ input: server.stdout! }), 'line'),
        once(server, 'exit'),
      ])) as unknown[];
      if (line !== 'serving') throw new Error(`vsock serve: ${String(line)}`);
    }
    const [file, ...args] = await commandOf(plan, monitor, path);
    const child = start(file!, args);
    const worker = (): number[] => vhostWorkers(child.pid!);
    return await measureJobs(child, worker, plan.limitMs, VSOCK_JOBS);
  } catch (error) {
    return noJob(VSOCK_JOBS, (error as Error).message);
  } finally {
    for (const child of running) child.kill('SIGKILL');
    await Promise.all(running.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'close')));
  }
}

/** The kernel's threads that do vhost's work for a process, which are no threads of it (Linux 6.1 drivers/vhost/vhost.c). */
const vhostWorkers = (pid: number): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && commOf(name) === `vhost-${pid}`)
    .map(Number);

function commOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'latin1').trim();
  } catch {
    return ''; // it has ended since
  }
}

async function commandOf(plan: VsockPlan, monitor: VsockMonitor, path: string): Promise<string[]> {
  const { kernel, initrd, memoryMib } = plan;
  const memory = `${memoryMib}M`;
  if (monitor === 'api')
    return [process.execPath, '--import', 'tsx', HOST, kernel, initrd, memory, String(CID)];
  if (monitor === 'unix') {
    const image = ['--kernel', kernel, '--initrd', initrd, '--memory', memory, '--cmdline', 'quiet'];
    return [process.execPath, VMM, ...image, '--vsock', `${CID},path=${path}`];
  }
  // The words that ours adds, for all of them.
  await using vm = await VirtualMachine.create({ kernel, initrd, memory, cmdline: 'quiet' });
  return qemuVsock({ kernel, initrd, cmdline: vm.cmdline!, memoryMib }, CID, plan.guest === 'stock');
}
