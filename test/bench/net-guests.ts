/**
 * A Linux guest that measures its network, under any monitor: one boot, every job, and what each cost the monitor's processes. The
 * same kernel, initramfs and addresses for all; all that is made on the host is in the network namespace of this process.
 * Runs on: main; the guests in processes of their own.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuTime } from './cpu-time.js';
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

/** µs for one of what the job counts: of time as the guest has it, and of CPU of the monitor's processes. */
export interface NetSample {
  readonly time: number;
  readonly cpu: number;
}

/** One boot: what each job measured, or why it did not. */
export type NetBoot = Readonly<Record<string, NetSample | { readonly why: string }>>;

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
    return await listen(start(file!, args, 'pipe'), helpers, plan.limitMs);
  } catch (error) {
    return failed(
      NET_JOBS.map(({ name }) => name),
      (error as Error).message,
    );
  } finally {
    for (const child of running) child.kill('SIGKILL');
    await Promise.all(running.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'close')));
    if (tap) ip('link', 'delete', 'tap0');
    if (monitor === 'user-passt') ip('addr', 'flush', 'to', HOST_ADDRESS, 'dev', 'lo');
  }
}

const failed = (names: readonly string[], why: string): NetBoot =>
  Object.fromEntries(names.map((name) => [name, { why }]));

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

/** Reads what the guest says until it ends, or for as long as it may take. */
async function listen(child: ChildProcess, helpers: readonly number[], limitMs: number): Promise<NetBoot> {
  const limit = setTimeout(() => child.kill('SIGKILL'), limitMs);
  const said: string[] = [];
  child.stderr!.on('data', (chunk: Buffer) => said.push(chunk.toString()));
  const results: Record<string, NetBoot[string]> = {};
  const loads = new Map<string, number>(); // CPUs in use
  const cpu = (): number => [child.pid!, ...helpers].reduce((sum, pid) => sum + cpuTime(pid), 0);
  let before = { cpu: 0, at: 0 };
  for await (const line of createInterface({ input: child.stdout! })) {
    said.push(line);
    const [, name = '', what = '', rest = ''] = /job (\S+?):? (starts|ends|\d+)\s?(.*)$/.exec(line) ?? [];
    const job = NET_JOBS.find((one) => one.name === name);
    if (!job) continue;
    if (what === 'starts') before = { cpu: cpu(), at: performance.now() };
    else if (what === 'ends') loads.set(name, (cpu() - before.cpu) / 1000 / (performance.now() - before.at));
    else {
      try {
        const time = job.read(rest);
        results[name] = { time, cpu: time * (loads.get(name) ?? Number.NaN) };
      } catch (error) {
        results[name] = { why: `status ${what}: ${(error as Error).message}` };
      }
    }
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
  clearTimeout(limit);
  const missing = NET_JOBS.map(({ name }) => name).filter((name) => !(name in results));
  return { ...results, ...failed(missing, `the guest did not come to it: ${said.slice(-3).join(' | ')}`) };
}
