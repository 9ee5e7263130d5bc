/** The row about memory: what each further VM in a process costs it. Runs on: main. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Benchmark } from './benchmark.js';
import { quietEnvironment } from './stopwatch.js';

const INSIDE = fileURLToPath(new URL('./inside/many-vms.ts', import.meta.url));
const VMS = 50;
const PER_SAMPLE = 5;
const CPUS = 4;

export const memory: Benchmark = {
  name: 'memory',
  async run({ progress }) {
    // In a process of its own: this one has a compiler in it.
    const sampled = (cpus: number): Promise<number[]> =>
      progress.step(`memory of ${VMS} VMs with ${cpus} vCPUs`, async () => {
        const args = [
          '--expose-gc',
          '--import',
          'tsx',
          INSIDE,
          String(VMS),
          String(PER_SAMPLE),
          String(cpus),
        ];
        const output = execFileSync(process.execPath, args, { encoding: 'utf8', env: quietEnvironment() });
        return output
          .trim()
          .split('\n')
          .map((line) => Number(line) / 2 ** 20);
      });
    const [samples, many] = [await sampled(1), await sampled(CPUS)];
    return [
      {
        name: 'memory',
        what: `private memory per further 128 MB VM, ${VMS} VMs started`,
        unit: 'MiB',
        ours: samples,
        limit: { absolute: 2.5 },
        notes: [
          `growth of Private_Dirty in smaps_rollup, per VM, over steps of ${PER_SAMPLE} VMs`,
          'the guest is a flat one that touches a single page: what is counted is the monitor',
          'garbage is collected before each look; memory of the kernel (KVM’s own) is not in it',
        ],
      },
      {
        name: 'memory-smp',
        what: `the same for VMs with ${CPUS} vCPUs`,
        unit: 'MiB',
        ours: many,
        peer: { what: 'VMs with one', samples },
        limit: {},
        notes: ['for information: a vCPU is a thread with its stack, and a page shared with the kernel'],
      },
    ];
  },
};
