/** The rows about Linux on a hardware-style KVM, inside the rig. Runs on: main. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheRoot } from '../../guest-kernels/cache.js';
import { leanGuest } from '../../guest-kernels/lean.js';
import { stockGuest } from '../../guest-kernels/stock.js';
import { runInRig } from '../rig/rig.js';
import type { Benchmark, Context, Row, Unmeasured } from './benchmark.js';
import { ensureQemu } from './qemu.js';

const INSIDE = fileURLToPath(new URL('./inside/rig-boot.ts', import.meta.url));
/** Seconds: an emulated boot takes two to eight, a few times per round, and the machine may be busy. */
const PER_ROUND = 60;

/** What rig-boot.ts measured, ms. */
export interface RigSamples {
  readonly ours: readonly number[];
  readonly qemu: readonly number[];
  /** Ours with transparent huge pages, which QEMU always asks for. */
  readonly huge: readonly number[];
  readonly node: readonly number[];
  readonly cmdline: string;
}

type KernelName = 'lean' | 'stock';

export const rigBoot: Benchmark = {
  name: 'rig',
  async run(context) {
    const what = 'warm start() → message from /init, in the rig';
    const measured = await measure(context, 'lean', { name: 'rig', what });
    if ('why' in measured) return [measured];
    const { samples, notes } = measured;
    const peer = { what: 'QEMU microvm, exec → /init, in the rig', samples: samples.qemu };
    const rows: Row[] = [
      { name: 'rig', what, unit: 'ms', ours: samples.ours, peer, limit: { ratio: 1 }, notes },
      {
        name: 'rig-huge',
        what: 'the same with transparent huge pages for RAM',
        unit: 'ms',
        ours: samples.huge,
        peer,
        limit: {},
        notes: ['for information: QEMU asks for them by itself, we when told to'],
      },
      {
        name: 'rig-node',
        what: 'apart: start of Node itself in the rig',
        unit: 'ms',
        ours: samples.node,
        peer,
        limit: {},
        notes: ['for information: `node -e 0`, exec to exit, under emulation'],
      },
    ];
    return rows;
  },
};

export const rigStock: Benchmark = {
  name: 'rig-stock',
  async run(context) {
    const what = "warm start() → message from /init, Debian's kernel, in the rig";
    const measured = await measure(context, 'stock', { name: 'rig-stock', what });
    if ('why' in measured) return [measured];
    const { samples, notes } = measured;
    const peer = { what: 'QEMU microvm, same kernel, exec → /init', samples: samples.qemu };
    return [{ name: 'rig-stock', what, unit: 'ms', ours: samples.ours, peer, limit: { ratio: 0.9 }, notes }];
  },
};

/** Boots a kernel in turns with both monitors, in one machine. */
async function measure(
  context: Context,
  kernel: KernelName,
  row: Pick<Row, 'name' | 'what'>,
): Promise<{ samples: RigSamples; notes: string[] } | Unmeasured> {
  await ensureQemu(context);
  const { rounds, folder, progress } = context;
  await leanGuest({ progress }); // its /init is what both boot to
  if (kernel === 'stock') await stockGuest({ progress });
  const output = join(folder, `rig-${kernel}.json`);
  const inside = [INSIDE, output, String(rounds), context.peer('stopwatch'), kernel];
  const result = await progress.step(`Linux in the rig, ${kernel}`, () =>
    runInRig([process.execPath, '--import', 'tsx', ...inside], {
      rw: [folder],
      env: { TYPEVISOR_CACHE: cacheRoot() },
      timeout: 60 + PER_ROUND * rounds,
    }),
  );
  if (result.status !== 0)
    return { ...row, why: `status ${result.status} in the rig: ${result.stderr.trim()}` };
  const samples = JSON.parse(readFileSync(output, 'utf8')) as RigSamples;
  const repeats = result.repeats > 0 ? [`the rig failed ${result.repeats} time and was started again`] : [];
  return { samples, notes: [`command line of both: ${samples.cmdline}`, ...repeats] };
}
