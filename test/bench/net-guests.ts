/**
 * A Linux guest that measures its network, under any monitor: one boot, every job, and what each cost the monitor's processes. The
 * same kernel, initramfs and addresses for all; all that is made on the host is in the network namespace of this process.
 * Runs on: main; the guests in processes of their own.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type JobBoot, measureJobs, noJob } from './guest-jobs.js';
import { VirtualMachine } from './library.js';
import { CONNECTIONS_PORT, GUEST_ADDRESS, HOST_ADDRESS, NET_JOBS, portOf } from './net-jobs.js';
import { qemuNetwork } from './qemu.js';
import { quietEnvironment } from './stopwatch.js';

const VMM = join(import.meta.dirname, '../../vmm.js');
export const NET_MONITORS = ['tap', 'tap-qemu', 'user', 'user-slirp', 'user-passt'] as const;
export type NetMonitor = (typeof NET_MONITORS)[number];

/** What is ready before a namespace is entered; paths. */
export interface NetPlan {
  readonly guest: 'lean' | 'stock';
  readonly kernel: string;
  readonly initrd: string;
  readonly memoryMib: number;
  /** Programs for the host's end. */
  readonly iperf3: string;
  readonly connections: string;
  /** Of one boot with all its jobs, ms; what has come until then counts. */
  readonly limitMs: number;
  /** For sockets. */
  readonly folder: string;
}

export type NetBoot = JobBoot;

const ip = (...args: readonly string[]): void => void execFileSync('ip', args, { stdio: 'pipe' });

/** Interfaces for all monitors, in this process's namespace. @throws Error with what the host lacks */
export function prepareNamespace(): void {
  ip('link', 'set', 'lo', 'up');
  // What passt takes for the way to the world: it refuses a host that has none.
  ip('tuntap', 'add', 'world', 'mode', 'tap');
  ip('addr', 'add', '192.0.2.1/24', 'dev', 'world');
  ip('link', 'set', 'world', 'up');
  ip('route', 'add', 'default', 'via', '192.0.2.2', 'dev', 'world');
  // It answers pings by asking the host's kernel, which is for groups that may.
  writeFileSync('/proc/sys/net/ipv4/ping_group_range', '0 0');
}

/** One boot. A job that fails has its reason in the result. */
export async function measureNetwork(plan: NetPlan, monitor: NetMonitor): Promise<NetBoot> {
  const running: ChildProcess[] = [];
  const start = (
    file: string,
    args: readonly string[],
    output: 'pipe' | 'ignore' = 'ignore',
  ): ChildProcess => {
    const child = spawn(file, args, { stdio: ['ignore', output, output], env: quietEnvironment() });
    child.on('error', () => {}); // it never becomes ready, which is told below
    running.push(child);
    return child;
  };
  const tap = monitor.startsWith('tap');
  try {
    if (tap) {
      ip('tuntap', 'add', 'tap0', 'mode', 'tap');
      ip('addr', 'add', `${HOST_ADDRESS}/24`, 'dev', 'tap0');
      ip('link', 'set', 'tap0', 'up');
    }
    start(plan.connections, ['serve', String(CONNECTIONS_PORT)]);
    for (const job of NET_JOBS) start(plan.iperf3, ['-s', '-p', String(portOf(job))]);
    const helpers: number[] = [];
    const socket = join(plan.folder, `passt-${process.pid}-${Date.now()}`);
    if (monitor === 'user-passt') {
      // It carries pings to the address that was meant; connections go to loopback as with the others.
      ip('addr', 'add', `${HOST_ADDRESS}/32`, 'dev', 'lo');
      helpers.push(await startPasst(start, socket));
    }
    const [file, ...args] = await commandOf(plan, monitor, socket);
    return await measureJobs(start(file!, args, 'pipe'), () => helpers, plan.limitMs, NET_JOBS);
  } catch (error) {
    return noJob(NET_JOBS, (error as Error).message);
  } finally {
    for (const child of running) child.kill('SIGKILL');
    await Promise.all(running.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'close')));
    if (tap) ip('link', 'delete', 'tap0');
    if (monitor === 'user-passt') ip('addr', 'flush', 'to', HOST_ADDRESS, 'dev', 'lo');
  }
}

async function startPasst(
  start: (file: string, args: readonly string[]) => ChildProcess,
  socket: string,
): Promise<number> {
  const addresses = ['-a', GUEST_ADDRESS, '-n', '24', '-g', HOST_ADDRESS, '-i', 'world', '-4'];
  const child = start('passt', ['--foreground', '--socket', socket, '--runas', '0', ...addresses]);
  for (const end = performance.now() + 15_000; !existsSync(socket); await sleep(50)) {
    if (child.exitCode !== null) throw new Error(`passt ends with ${child.exitCode}`);
    if (performance.now() > end) throw new Error('passt does not listen');
  }
  return child.pid!;
}

async function commandOf(plan: NetPlan, monitor: NetMonitor, socket: string): Promise<string[]> {
  const { kernel, initrd, memoryMib } = plan;
  const memory = `${memoryMib}M`;
  if (monitor === 'tap' || monitor === 'user') {
    const network = monitor === 'tap' ? ['--net', 'tap:tap0'] : ['--net', 'user', '--allow', 'host'];
    const image = ['--kernel', kernel, '--initrd', initrd, '--memory', memory, '--cmdline', 'quiet'];
    return [process.execPath, VMM, ...image, ...network];
  }
  // The words that ours adds, for all of them.
  await using vm = await VirtualMachine.create({ kernel, initrd, memory, cmdline: 'quiet' });
  const netdev = {
    'tap-qemu': 'tap,ifname=tap0,script=no,downscript=no,vhost=off',
    'user-slirp': 'user',
    'user-passt': `stream,server=off,addr.type=unix,addr.path=${socket}`,
  }[monitor];
  return qemuNetwork({ kernel, initrd, cmdline: vm.cmdline!, memoryMib }, netdev, plan.guest === 'stock');
}
