/**
 * Rows about disks as a guest sees them: fio in the same Linux guest on the same files, our monitor against QEMU's virtio-blk-device,
 * whose disks go through io_uring or a pool of threads. On this host's KVM, and in the rig.
 * Runs on: main.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheRoot } from '../../guest-kernels/cache.js';
import { leanGuest } from '../../guest-kernels/lean.js';
import { MiB } from '../../src/base/units.js';
import { detectHostKind } from '../../src/vm/host-kind.js';
import { runInRig } from '../rig/rig.js';
import { toolsDisk } from '../support/tools-disk.js';
import { type Benchmark, bootsOf, type Context, type Row } from './benchmark.js';
import {
  DISK_JOBS,
  type DiskBoot,
  DiskGuests,
  type DiskJob,
  type DiskSample,
  MONITORS,
  type Monitor,
} from './disk-guests.js';
import { ensureQemu } from './qemu.js';
import { median } from './statistics.js';

const INSIDE = fileURLToPath(new URL('./inside/rig-disk.ts', import.meta.url));
/** How long a job counts, ms. */
const JOB_MS = 2000;
/** Boots of each monitor; one takes two minutes where guest kernels are emulated, and so few requests that more say little. */
const MOST_ROUNDS = 3;
const MOST_EMULATED = 1;
/** Of one boot in the rig with all its jobs, s. */
const PER_BOOT = 100;

/** What each monitor measured, boot by boot. */
export type DiskResults = Record<Monitor, DiskBoot[]>;

export const guestDisk: Benchmark = {
  name: 'guest-disk',
  async run(context) {
    await prepare(context);
    const folder = join(context.folder, 'guest-disk');
    mkdirSync(folder);
    try {
      const guests = await DiskGuests.prepare(folder, JOB_MS, DISK_JOBS.filter(context.wants));
      return rowsOf(
        'guest',
        "this host's KVM",
        await measureAll(guests, { ...context, rounds: bootsOf(context, MOST_ROUNDS) }),
        context,
        '',
      );
    } catch (error) {
      return [{ name: 'guest-disk', what: "fio in a guest, this host's KVM", why: String(error) }];
    }
  },
};

export const rigDisk: Benchmark = {
  name: 'rig-disk',
  async run(context) {
    await prepare(context);
    const { folder, progress } = context;
    const rounds = bootsOf(context, MOST_ROUNDS);
    const output = join(folder, 'rig-disk.json');
    const jobs = DISK_JOBS.filter(context.wants).map(({ name }) => name);
    let why = 'it never ran';
    // A machine of its own for each round: one that works for very long cannot be trusted.
    for (let round = 1; round <= rounds; round += 1) {
      const title = `fio in guests in the rig, ${round} of ${rounds}`;
      const { status, stderr } = await progress.step(title, () =>
        runInRig(
          [process.execPath, '--import', 'tsx', INSIDE, output, String(round), String(JOB_MS), ...jobs],
          {
            rw: [folder],
            env: { TYPEVISOR_CACHE: cacheRoot() },
            timeout: 60 + PER_BOOT * MONITORS.length,
          },
        ),
      );
      if (status !== 0) why = `status ${status} in the rig: ${stderr.trim().slice(-500)}`;
    }
    return rowsOf('rig', 'in the rig', diskResults(output), context, why);
  },
};

/** @returns what was written there; nothing where nothing was */
export const diskResults = (path: string): DiskResults =>
  existsSync(path)
    ? (JSON.parse(readFileSync(path, 'utf8')) as DiskResults)
    : { ours: [], 'qemu-io_uring': [], 'qemu-threads': [] };

/**
 * All monitors in turns. What `results` has already is not measured again.
 * @param keep hears of the results after every boot
 */
export async function measureAll(
  guests: DiskGuests,
  context: Pick<Context, 'rounds' | 'progress'>,
  results = diskResults(''),
  keep: (results: DiskResults) => void = () => {},
): Promise<DiskResults> {
  const rounds = roundsOf(context);
  await context.progress.step('fio in guests', async (step) => {
    for (let round = 0; round < rounds; round += 1) {
      for (const [index, monitor] of MONITORS.entries()) {
        step.update((round + index / MONITORS.length) / rounds, monitor);
        if (results[monitor].length > round) continue;
        results[monitor].push(await guests.measure(monitor));
        keep(results);
      }
    }
  });
  return results;
}

const roundsOf = ({ rounds }: Pick<Context, 'rounds'>): number =>
  Math.min(rounds, detectHostKind() === 'software' ? MOST_EMULATED : MOST_ROUNDS);

async function prepare({ progress }: Context): Promise<void> {
  await ensureQemu({ progress });
  await leanGuest({ progress });
  await toolsDisk({ progress });
}

function rowsOf(
  prefix: string,
  where: string,
  results: DiskResults,
  { wants }: Pick<Context, 'wants'>,
  otherwise: string,
): Row[] {
  const of = (monitor: Monitor, { name }: DiskJob): DiskSample[] =>
    results[monitor].flatMap(({ samples }) =>
      samples.filter(([job]) => job === name).map(([, sample]) => sample),
    );
  const times = (samples: readonly DiskSample[]): number[] => samples.map(({ time }) => time);
  const cpu = (samples: readonly DiskSample[]): number => median(samples.map((sample) => sample.cpu));
  const failures = (monitor: Monitor): string[] => results[monitor].flatMap(({ why }) => why ?? []);
  return DISK_JOBS.filter(wants).flatMap((job) =>
    (['qemu-io_uring', 'qemu-threads'] as const).map((peer): Row => {
      const [ours, theirs] = [of('ours', job), of(peer, job)];
      const { block, depth, disk, write, name } = job;
      const shape = `${block === MiB ? '1 MiB' : '4 KiB random'} ${write ? 'write' : 'read'}, depth ${depth}`;
      const names = {
        name: `${prefix}-${name}-${peer}`,
        what: `${shape}, ${disk === 'direct' ? 'O_DIRECT' : 'page cache'}, ${where}; ${peer}`,
      };
      const failed = [...failures('ours'), ...failures(peer)];
      if (ours.length === 0 || theirs.length === 0) return { ...names, why: failed[0] ?? otherwise };
      return {
        ...names,
        unit: 'µs',
        ours: times(ours),
        peer: { what: peer, samples: times(theirs) },
        cpu: { ours: cpu(ours), peer: cpu(theirs) },
        limit: { ratio: 1 },
        notes: ['time per request: 1 / requests per second', ...failed],
      };
    }),
  );
}
