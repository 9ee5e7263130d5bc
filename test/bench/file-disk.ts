/**
 * Rows about disks in files, without a guest: the file back end against fio's io_uring engine, on the same file, past the
 * page cache and through it. fio submits and reaps in a tight loop on a thread of its own; ours shares the event loop
 * with everything else.
 * Runs on: main; fio in processes of its own.
 */
import { closeSync, fsyncSync, openSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../guest-kernels/command.js';
import { KiB, MiB } from '../../src/base/units.js';
import { addon } from '../../src/host/addon.js';
import { Random } from '../support/random.js';
import { type Benchmark, type Context, inTurns, type Row } from './benchmark.js';
import { FileDisk } from './library.js';
import { median } from './statistics.js';

interface Job {
  readonly name: string;
  readonly direct: boolean;
  readonly write: boolean;
  readonly block: number; // bytes
  readonly depth: number;
}

/** In memory as a whole, and small enough to be written in a second or two. */
const FILE_SIZE = 256 * MiB;
const SAMPLE_MS = 300;
/** At least 0.9 of fio's requests per second. */
const LIMIT = 1 / 0.9;

const JOBS: readonly Job[] = [true, false].flatMap((direct) =>
  [
    { block: 4 * KiB, depth: 32, write: false },
    { block: 4 * KiB, depth: 1, write: false },
    { block: 4 * KiB, depth: 32, write: true },
    { block: 4 * KiB, depth: 1, write: true },
    { block: MiB, depth: 4, write: false },
    { block: MiB, depth: 4, write: true },
  ].map((shape) => {
    const kind = `${shape.block === MiB ? 'seq' : 'rand'}${shape.write ? 'write' : 'read'}`;
    return { ...shape, direct, name: `disk-${direct ? 'direct' : 'cached'}-${kind}-${shape.depth}` };
  }),
);

export const fileDisk: Benchmark = {
  name: 'file-disk',
  async run(context) {
    if (!(await hasFio())) {
      return [
        { name: 'file-disk', what: 'file back end against fio', why: 'fio is missing: apt-get install fio' },
      ];
    }
    const path = join(context.folder, 'disk.img');
    const { bavail, bsize } = statfsSync(context.folder);
    if (bavail * bsize < 2 * FILE_SIZE) {
      return [{ name: 'file-disk', what: 'file back end against fio', why: 'no room for its file' }];
    }
    fill(path);
    const rows: Row[] = [];
    for (const job of JOBS.filter(context.wants)) rows.push(await compare(context, path, job));
    return rows;
  },
};

async function compare(context: Context, path: string, job: Job): Promise<Row> {
  const cpu: { ours: number[]; peer: number[] } = { ours: [], peer: [] };
  let engine = '';
  const [ours = [], peer = []] = await inTurns(context, job.name, [
    async () => {
      await using disk = await FileDisk.open(path, { direct: job.direct });
      engine = disk.engine;
      const sample = await measure(disk, job);
      cpu.ours.push(sample.cpu);
      return sample.time;
    },
    async () => {
      const sample = await measureFio(path, job);
      cpu.peer.push(sample.cpu);
      return sample.time;
    },
  ]);
  const { block, depth, direct, write, name } = job;
  return {
    name,
    what: `${block === MiB ? '1 MiB' : '4 KiB random'} ${write ? 'write' : 'read'}, ${depth} at once, ${direct ? 'O_DIRECT' : 'page cache'}`,
    unit: 'µs',
    ours,
    peer: { what: 'fio, io_uring', samples: peer },
    cpu: { ours: median(cpu.ours), peer: median(cpu.peer) },
    limit: { ratio: LIMIT },
    notes: [`time per request: 1 / requests per second; engine: ${engine}`],
  };
}

/** µs per request, of time and of CPU. */
interface Sample {
  readonly time: number;
  readonly cpu: number;
}

async function measure(disk: FileDisk, { block, depth, write }: Job): Promise<Sample> {
  const random = new Random(1);
  const blocks = FILE_SIZE / block;
  let count = 0;
  let next = 0;
  let stopped = false;
  const before = process.cpuUsage();
  const start = performance.now();
  const worker = async (buffer: Uint8Array): Promise<void> => {
    while (!stopped) {
      const offset = block * (block === MiB ? next++ % blocks : random.below(blocks));
      if (write) await disk.write(offset, buffer);
      else await disk.read(offset, buffer);
      count += 1;
      if (count % 16 === 0 && performance.now() - start > SAMPLE_MS) stopped = true;
    }
  };
  await Promise.all(Array.from({ length: depth }, () => worker(pageAligned(block))));
  const elapsed = performance.now() - start;
  const { user, system } = process.cpuUsage(before);
  return { time: (elapsed * 1000) / count, cpu: (user + system) / count };
}

/** As guest memory is. */
function pageAligned(length: number): Uint8Array {
  const bytes = new Uint8Array(length + 4 * KiB);
  const over = addon.addressOf(bytes) % (4 * KiB);
  return bytes.subarray(4 * KiB - over, 4 * KiB - over + length);
}

interface FioReport {
  readonly jobs: readonly {
    readonly usr_cpu: number; // per cent
    readonly sys_cpu: number;
    readonly job_runtime: number; // ms
    readonly read: { readonly iops: number; readonly total_ios: number };
    readonly write: { readonly iops: number; readonly total_ios: number };
  }[];
}

async function measureFio(path: string, { block, depth, direct, write }: Job): Promise<Sample> {
  const rw = `${block === MiB ? '' : 'rand'}${write ? 'write' : 'read'}`;
  const output = await run('fio', [
    '--name=peer',
    `--filename=${path}`,
    `--rw=${rw}`,
    `--bs=${block}`,
    `--iodepth=${depth}`,
    `--direct=${Number(direct)}`,
    `--size=${FILE_SIZE}`,
    `--runtime=${SAMPLE_MS}ms`,
    '--time_based',
    '--ioengine=io_uring',
    '--norandommap',
    '--invalidate=0',
    '--output-format=json',
  ]);
  const { jobs } = JSON.parse(output.toString()) as FioReport;
  const job = jobs[0]!;
  const { iops, total_ios } = write ? job.write : job.read;
  return {
    time: 1e6 / iops,
    cpu: ((job.usr_cpu + job.sys_cpu) / 100) * ((job.job_runtime * 1000) / total_ios),
  };
}

/** Every block written: reading a hole reads nothing, and writing into one allocates. */
function fill(path: string): void {
  const fd = openSync(path, 'w');
  const block = new Random(2).bytes(MiB);
  for (let at = 0; at < FILE_SIZE; at += block.length) writeSync(fd, block, 0, block.length, at);
  fsyncSync(fd);
  closeSync(fd);
}

const hasFio = (): Promise<boolean> =>
  run('fio', ['--version']).then(
    () => true,
    () => false,
  );
