/**
 * `npm run bench -- [--only NAME[,NAME…]] [--jobs PART[,PART…]] [--quick] [--json FILE]`: every figure of the project as a ratio to a
 * peer, both measured in turns in one run; of a disk's jobs all, or those whose names have such a part. A figure that is not reached is reported, not an error; a benchmark that breaks is one.
 * Runs on: main.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { run } from '../../guest-kernels/command.js';
import { Progress } from '../../guest-kernels/progress.js';
import { nearest } from '../../src/base/nearest.js';
import { detectHostKind } from '../../src/vm/host-kind.js';
import type { Benchmark, Context, Row } from './benchmark.js';
import { exits } from './exits.js';
import { fileDisk } from './file-disk.js';
import { guestDisk, rigDisk } from './guest-disk.js';
import { guestExec, rigExec } from './guest-exec.js';
import { guestNet, rigNet } from './guest-net.js';
import { guestVsock, rigVsock } from './guest-vsock.js';
import { linux } from './linux.js';
import { memory, memorySmp } from './memory.js';
import { flatProcess, inProcess, version } from './processes.js';
import { details, isMet, ratioOf, table } from './report.js';
import { rigBoot, rigStock } from './rig.js';
import { smp } from './smp.js';
import { median, quantile } from './statistics.js';
import { tap } from './tap.js';
import { virtioCore } from './virtio-core.js';

const BENCHMARKS: readonly Benchmark[] = [
  flatProcess,
  inProcess,
  linux,
  rigBoot,
  rigStock,
  smp,
  exits,
  memory,
  memorySmp,
  virtioCore,
  tap,
  version,
  fileDisk,
  guestDisk,
  rigDisk,
  guestNet,
  rigNet,
  guestVsock,
  rigVsock,
  guestExec,
  rigExec,
];
const ROUNDS = 15;
/** For a first look: medians of so few samples are not results. */
const QUICK_ROUNDS = 3;
const PEERS = ['stopwatch', 'exit-loop'] as const;
const USAGE_STATUS = 64;

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** @returns the exit code */
export async function runBenchmarks(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      jobs: { type: 'string', default: '' },
      json: { type: 'string' },
      quick: { type: 'boolean', default: false },
    },
  });
  const chosen = select(values.only);
  if (!chosen) return USAGE_STATUS;
  const parts = values.jobs.split(',');
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-bench-'));
  try {
    await compilePeers(folder);
    const context: Context = {
      rounds: values.quick ? QUICK_ROUNDS : ROUNDS,
      progress: new Progress(),
      wants: ({ name }) => parts.some((part) => name.includes(part)),
      peer: (name) => join(folder, name),
      folder,
    };
    const rows: Row[] = [];
    for (const benchmark of chosen) rows.push(...(await benchmark.run(context)));
    const host = describeHost();
    if (values.json) {
      const results = rows.map((row) => ('ours' in row ? summary(row) : row));
      writeFileSync(
        values.json,
        `${JSON.stringify({ host, rounds: context.rounds, rows: results }, null, 2)}\n`,
      );
    }
    say(`\n${details(rows)}\n\n${host}; medians of the samples above\n\n${table(rows)}`);
    const missed = rows.filter((row) => isMet(row) === false);
    if (missed.length > 0) say(`\nnot reached: ${missed.map(({ name }) => name).join(', ')}`);
    return 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function select(only: string | undefined): readonly Benchmark[] | undefined {
  if (only === undefined) return BENCHMARKS;
  const names = BENCHMARKS.map(({ name }) => name);
  const wanted = only.split(',');
  const unknown = wanted.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    const guess = nearest(unknown, names);
    const hint = guess ? `; did you mean ${guess}?` : `: there are ${names.join(', ')}`;
    process.stderr.write(`bench: no benchmark ${unknown}${hint}\n`);
    return undefined;
  }
  return BENCHMARKS.filter(({ name }) => wanted.includes(name));
}

async function compilePeers(folder: string): Promise<void> {
  for (const name of PEERS) {
    const source = join(import.meta.dirname, `peers/${name}.c`);
    await run('cc', ['-O2', '-Wall', '-Werror', '-o', join(folder, name), source]);
  }
}

function summary(row: Extract<Row, { ours: unknown }>): object {
  const of = (samples: readonly number[]): object => ({
    median: median(samples),
    p10: quantile(samples, 0.1),
    p90: quantile(samples, 0.9),
    samples,
  });
  return {
    ...row,
    ours: of(row.ours),
    ...(row.peer && { peer: { what: row.peer.what, ...of(row.peer.samples) } }),
    ratio: ratioOf(row),
    met: isMet(row),
  };
}

const describeHost = (): string =>
  `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, Linux ${release()}, ${detectHostKind()} KVM, Node ${process.version}`;
