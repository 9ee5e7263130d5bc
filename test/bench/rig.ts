/** The rows about Linux on a hardware-style KVM, inside the rig. Runs on: main. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheRoot } from '../../guest-kernels/cache.js';
import { leanGuest } from '../../guest-kernels/lean.js';
import { stockGuest } from '../../guest-kernels/stock.js';
import { runInRig } from '../rig/rig.js';
import type { Benchmark, Row } from './benchmark.js';
import { ensureQemu } from './qemu.js';

const INSIDE = fileURLToPath(new URL('./inside/rig-boot.ts', import.meta.url));
/** Seconds: an emulated boot takes two to eight, five times per round, and the machine may be busy. */
const PER_ROUND = 60;

export interface RigSamples {
  readonly ours: readonly number[];
  /** The same with transparent huge pages, which QEMU always asks for. */
  readonly huge: readonly number[];
  readonly qemu: readonly number[];
  readonly node: readonly number[];
  readonly cmdline: string;
  /** Debian's kernel, as packaged. */
  readonly stockOurs: readonly number[];
  readonly stockQemu: readonly number[];
  readonly stockCmdline: string;
}

export const rigBoot: Benchmark = {
  name: 'rig',
  async run(context) {
    await ensureQemu(context);
    await leanGuest({ progress: context.progress });
    await stockGuest({ progress: context.progress });
    const { rounds, folder, progress } = context;
    const output = join(folder, 'rig.json');
    const what = 'warm start() → message from /init, in the rig';
    const result = await progress.step('Linux in the rig', () =>
      runInRig(
        [process.execPath, '--import', 'tsx', INSIDE, output, String(rounds), context.peer('stopwatch')],
        { rw: [folder], env: { TYPEVISOR_CACHE: cacheRoot() }, timeout: 60 + PER_ROUND * rounds },
      ),
    );
    if (result.status !== 0) {
      return [{ name: 'rig', what, why: `status ${result.status} in the rig: ${result.stderr.trim()}` }];
    }
    const samples = JSON.parse(readFileSync(output, 'utf8')) as RigSamples;
    const peer = { what: 'QEMU microvm, exec → /init, in the rig', samples: samples.qemu };
    const repeats = result.repeats > 0 ? [`the rig failed ${result.repeats} time and was started again`] : [];
    const rows: Row[] = [
      {
        name: 'rig',
        what,
        unit: 'ms',
        ours: samples.ours,
        peer,
        limit: { ratio: 1 },
        notes: [`command line of both: ${samples.cmdline}`, ...repeats],
      },
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
        name: 'rig-stock',
        what: "warm start() → message from /init, Debian's kernel, in the rig",
        unit: 'ms',
        ours: samples.stockOurs,
        peer: { what: 'QEMU microvm, same kernel, exec → /init', samples: samples.stockQemu },
        limit: { ratio: 0.9 },
        notes: [`command line of both: ${samples.stockCmdline}`],
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
