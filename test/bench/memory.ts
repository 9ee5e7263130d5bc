/** The row about memory: what each further VM in a process costs it. Runs on: main. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Benchmark } from './benchmark.js';
import { quietEnvironment } from './stopwatch.js';

const INSIDE = fileURLToPath(new URL('./inside/many-vms.ts', import.meta.url));
const VMS = 50;
const PER_SAMPLE = 5;

export const memory: Benchmark = {
  name: 'memory',
  async run({ progress }) {
    // In a process of its own: this one has a compiler in it.
    const samples = await progress.step(`memory of ${VMS} VMs`, async () =>
      execFileSync(
        process.execPath,
        ['--expose-gc', '--import', 'tsx', INSIDE, String(VMS), String(PER_SAMPLE)],
        {
          encoding: 'utf8',
          env: quietEnvironment(),
        },
      )
        .trim()
        .split('\n')
        .map(Number),
    );
    return [
      {
        name: 'memory',
        what: `private memory per further 128 MB VM, ${VMS} VMs started`,
        unit: 'MiB',
        ours: samples.map((bytes) => bytes / 2 ** 20),
        limit: { absolute: 2.5 },
        notes: [
          `growth of Private_Dirty in smaps_rollup, per VM, over steps of ${PER_SAMPLE} VMs`,
          'the guest is a flat one that touches a single page: what is counted is the monitor',
          'garbage is collected before each look; memory of the kernel (KVM’s own) is not in it',
        ],
      },
    ];
  },
};
