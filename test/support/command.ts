/**
 * The command as a user runs it: `node vmm.js …` in a process of its own. The rule every run is held to: when the command
 * has ended, no process of its group and no temporary file is left.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const VMM = join(import.meta.dirname, '../../vmm.js');

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** All of its input; without it, input stays open and silent. */
  readonly input?: string | Uint8Array;
  /** Runs instead of node, with node's arguments behind it. */
  readonly wrapper?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Called as soon as the process runs. */
  readonly meanwhile?: (child: ChildProcess) => void;
  /** For stdout instead of a pipe. */
  readonly stdout?: number;
}

/** Runs the command to its end. @throws Error when it left something behind */
export async function vmm(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const temporary = mkdtempSync(join(tmpdir(), 'typevisor-tmp-'));
  try {
    const [file, ...rest] = [...(options.wrapper ?? []), process.execPath, VMM, ...args];
    const child = spawn(file!, rest, {
      stdio: ['pipe', options.stdout ?? 'pipe', 'pipe'],
      detached: true, // a process group of its own
      env: { ...process.env, NODE_EXTRA_CA_CERTS: '', TMPDIR: temporary, ...options.env },
    });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.setEncoding('latin1').on('data', (text: string) => {
        output[name] += text;
      });
    }
    child.stdin?.on('error', () => {});
    if (options.input !== undefined) child.stdin?.end(options.input);
    options.meanwhile?.(child);
    const end = await new Promise<Pick<Finished, 'code' | 'signal'>>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    const left = [...processesOf(child.pid!).map((pid) => `process ${pid}`), ...readdirSync(temporary)];
    if (left.length > 0) throw new Error(`vmm ${args.join(' ')} left behind: ${left.join(', ')}`);
    return { ...end, ...output };
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** What `read` makes of something in /proc; undefined when that is gone meanwhile. */
function ifThere<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

/** Processes of a group, zombies not counted. */
export function processesOf(group: number): string[] {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    const text = ifThere(() => readFileSync(`/proc/${name}/stat`, 'latin1')) ?? '';
    // Fields behind the command's name, which may hold anything (proc(5)): state, ppid, pgrp, …
    const [state, , pgrp] = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return Number(pgrp) === group && state !== 'Z';
  });
}

/** How many vCPU threads a process has; 0 when it is gone. */
export function vcpuThreads(pid: number): number {
  const threads = ifThere(() => readdirSync(`/proc/${pid}/task`)) ?? [];
  return threads.filter(
    (thread) => ifThere(() => readFileSync(`/proc/${pid}/task/${thread}/comm`, 'latin1')) === 'vcpu\n',
  ).length;
}

/** Whether a process has the file open. */
export function hasOpen(pid: number, path: string): boolean {
  const descriptors = ifThere(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
  return descriptors.some((name) => ifThere(() => readlinkSync(`/proc/${pid}/fd/${name}`)) === path);
}
