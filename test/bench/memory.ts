/** The rows about memory: what each further VM in a process costs it. Runs on: main. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Benchmark, Context } from './benchmark.js';
import { quietEnvironment } from './stopwatch.js';

const INSIDE = fileURLToPath(new URL('./inside/many-vms.ts', import.meta.url));
const VMS = 50;
const PER_SAMPLE = 5;
const CPUS = 4;

/** Growth per VM, MiB, over steps of some VMs; in a process of its own, because this one has a compiler in it. */
const sampled = ({ progress }: Context, cpus: number): Promise<number[]> =>
  progress.step(`memory of ${VMS} VMs with ${cpus} vCPUs`, async () => {
    const numbers = [VMS, PER_SAMPLE, cpus].map(String);
    const args = ['--expose-gc', '--import', 'tsx', INSIDE, ...numbers];
    const output = execFileSync(process.execPath, args, { encoding: 'utf8', env: quietEnvironment() });
    return output
      .trim()
      .split('\n')
      .map((line) => Number(line) / 2 ** 20);
  });

export const memory: Benchmark = {
  name: 'memory',
  async run(context) {
    return [
      {
        name: 'memory',
        what: `private memory per further 128 MB VM, ${VMS} VMs started`,
        unit: 'MiB',
        ours: await sampled(context, 1),
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

/** Both sides in this run, so that they can be compared. */
export const memorySmp: Benchmark = {
  name: 'memory-smp',
  async run(context) {
    const one = await sampled(context, 1);
    return [
      {
        name: 'memory-smp',
        what: `private memory per further VM with ${CPUS} vCPUs`,
        unit: 'MiB',
        ours: await sampled(context, CPUS),
        peer: { what: 'VMs with one', samples: one },
        limit: {},
        notes: ['for information: a vCPU is a thread with its stack, and a page shared with the kernel'],
      },
    ];
  },
};
