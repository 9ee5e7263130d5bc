/**
 * A Linux guest that measures its disks with fio, under any monitor: one boot, every job, and what each cost the monitor's process.
 * The guest always passes its own page cache by; `cached` and `direct` say how the host opens the file.
 * Runs on: main; the guests in processes of their own.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fsyncSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { withScript } from '../../guest-kernels/initramfs.js';
import { type LeanGuest, leanGuest } from '../../guest-kernels/lean.js';
import { KiB, MiB } from '../../src/base/units.js';
import { Random } from '../support/random.js';
import { toolsDisk } from '../support/tools-disk.js';
import { cpuTime } from './cpu-time.js';
import { VirtualMachine } from './library.js';
import { qemuDisks } from './qemu.js';
import { quietEnvironment } from './stopwatch.js';

const VMM = join(import.meta.dirname, '../../vmm.js');
const MEMORY_MIB = 128;
/** In the host's memory as a whole. */
const DISK_SIZE = 64 * MiB;
/** Of one boot with all its jobs. Where guest kernels are emulated, QEMU takes long to start one. */
const LIMIT_MS = 900_000;

export const CACHES = ['cached', 'direct'] as const;

export interface DiskJob {
  readonly name: string;
  readonly disk: (typeof CACHES)[number];
  readonly write: boolean;
  readonly block: number; // bytes
  readonly depth: number;
}

export const DISK_JOBS: readonly DiskJob[] = CACHES.flatMap((disk) =>
  [
    { block: 4 * KiB, depth: 1, write: false },
    { block: 4 * KiB, depth: 32, write: false },
    { block: 4 * KiB, depth: 1, write: true },
    { block: 4 * KiB, depth: 32, write: true },
    { block: MiB, depth: 4, write: false },
    { block: MiB, depth: 4, write: true },
  ].map((shape) => {
    const kind = `${shape.block === MiB ? 'seq' : 'rand'}${shape.write ? 'write' : 'read'}`;
    return { ...shape, disk, name: `${disk}-${kind}-${shape.depth}` };
  }),
);

/** µs per request: of time as the guest's fio has it, and of the CPU of the monitor's process, its vCPU included. */
export interface DiskSample {
  readonly time: number;
  readonly cpu: number;
}

/** What one boot measured, by job. */
export interface DiskBoot {
  readonly samples: readonly (readonly [string, DiskSample])[];
  /** Why that is not all. */
  readonly why?: string;
}

export const MONITORS = ['ours', 'qemu-io_uring', 'qemu-threads'] as const;
export type Monitor = (typeof MONITORS)[number];

/** What all monitors run. */
export class DiskGuests {
  private constructor(
    private readonly guest: LeanGuest,
    private readonly tools: string,
    private readonly initrd: string,
    private readonly cmdline: string,
    private readonly disk: (name: string) => string,
    private readonly jobs: readonly DiskJob[],
  ) {}

  /**
   * @param folder for files of this run, whose file system has O_DIRECT
   * @param jobMs how long each job measures
   */
  static async prepare(folder: string, jobMs: number, jobs = DISK_JOBS): Promise<DiskGuests> {
    const guest = await leanGuest();
    const initrd = join(folder, 'disk-initrd');
    writeFileSync(initrd, withScript(readFileSync(guest.initrd), scriptOf(jobs, jobMs)));
    const disk = (name: string): string => join(folder, `${name}.img`);
    for (const name of CACHES) fill(disk(name));
    // The words that ours adds, for all of them.
    await using vm = await VirtualMachine.create({
      kernel: guest.kernel,
      initrd,
      memory: `${MEMORY_MIB}M`,
      cmdline: 'quiet',
    });
    return new DiskGuests(guest, await toolsDisk(), initrd, vm.cmdline!, disk, jobs);
  }

  /** One boot. @returns by job; what the guest said last when there are not all */
  async measure(monitor: Monitor): Promise<DiskBoot> {
    const [file, ...args] = this.#command(monitor);
    const child = spawn(file!, args, { stdio: ['ignore', 'pipe', 'pipe'], env: quietEnvironment() });
    const limit = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
    const said: string[] = [];
    child.stderr.on('data', (chunk: Buffer) => said.push(chunk.toString()));
    const samples = new Map<string, DiskSample>();
    const loads = new Map<string, number>(); // CPUs in use
    let before = { cpu: 0, at: 0 };
    for await (const line of createInterface({ input: child.stdout })) {
      said.push(line);
      const [, name = '', what, kib, ms] =
        /^job (\S+?):? (starts|ends|(\d+) KiB in (\d+) ms)/.exec(line) ?? [];
      if (what === 'starts') before = { cpu: cpuTime(child.pid!), at: performance.now() };
      else if (what === 'ends')
        loads.set(name, (cpuTime(child.pid!) - before.cpu) / 1000 / (performance.now() - before.at));
      else if (what) {
        const { block } = DISK_JOBS.find((job) => job.name === name)!;
        const time = (1000 * Number(ms) * block) / (Number(kib) * KiB);
        samples.set(name, { time, cpu: time * (loads.get(name) ?? Number.NaN) });
      }
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    clearTimeout(limit);
    const missing = this.jobs.some(({ name }) => !samples.has(name));
    const why = `${monitor}: jobs are missing: ${said.slice(-5).join(' | ')}`;
    return { samples: [...samples], ...(missing && { why }) };
  }

  #command(monitor: Monitor): string[] {
    const { guest, tools, initrd, cmdline } = this;
    if (monitor !== 'ours') {
      const disks = CACHES.map((name) => ({ id: name, path: this.disk(name), direct: name === 'direct' }));
      return qemuDisks(
        { kernel: guest.kernel, initrd, cmdline, memoryMib: MEMORY_MIB },
        [{ id: 'tools', path: tools, direct: false, readOnly: true }, ...disks],
        monitor === 'qemu-threads' ? 'threads' : 'io_uring',
      );
    }
    const disks = CACHES.flatMap((name) => [
      '--disk',
      `${this.disk(name)},id=${name}${name === 'direct' ? ',direct' : ''}`,
    ]);
    const image = ['--kernel', guest.kernel, '--initrd', initrd, '--memory', `${MEMORY_MIB}M`];
    const rest = ['--cmdline', 'quiet', '--disk', `${tools},id=tools,readOnly`, ...disks];
    return [process.execPath, VMM, ...image, ...rest];
  }
}

/**
 * Disks are found by their serials: monitors number them as they like. One fio runs all jobs, one after the other: to start it
 * takes seconds where guest kernels are emulated. Its buffers are touched, and caches warm, before a job counts.
 */
function scriptOf(jobs: readonly DiskJob[], jobMs: number): string {
  const sections = jobs.map(({ name, disk, write, block, depth }) => {
    const rw = `${block === MiB ? '' : 'rand'}${write ? 'write' : 'read'}`;
    // What these commands write goes to a file unless they say otherwise.
    const tell = (what: string): string => `echo job ${name} ${what} > /dev/console && true`;
    return `[${name}]
stonewall
filename=$${disk}
rw=${rw}
bs=${block}
iodepth=${depth}
ioengine=${depth === 1 ? 'psync' : 'io_uring'}
exec_prerun=${tell('starts')}
exec_postrun=${tell('ends')}
`;
  });
  return `
for disk in /sys/block/vd*; do
  read -r serial < "$disk/serial"
  eval "$serial=/dev/\${disk##*/}"
done
mount -t ext4 -o ro "$tools" /mnt || exit 1
cd /tmp
cat > jobs <<END
[global]
thread
direct=1
size=${DISK_SIZE}
ramp_time=${jobMs / 2}ms
runtime=${jobMs}ms
time_based
norandommap
randrepeat=1
${sections.join('')}END
/mnt/bin/fio --eta=never --output-format=terse --output=out jobs || exit 1
# Terse format, version 3: KiB moved and run time, ms, of reads; then of writes (fio(1)).
awk -F ';' '/;/ { printf "job %s: %d KiB in %d ms\\n", $3, $6 + $47, $9 + $50 }' out
`;
}

/** Every block written: reading a hole reads nothing, and writing into one allocates. */
function fill(path: string): void {
  const fd = openSync(path, 'w');
  const block = new Random(2).bytes(MiB);
  for (let at = 0; at < DISK_SIZE; at += block.length) writeSync(fd, block, 0, block.length, at);
  fsyncSync(fd);
  closeSync(fd);
}
