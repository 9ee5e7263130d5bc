/**
 * Rows about several vCPUs: what a second one is worth to programs of the guest, on this host's KVM, and what each costs the
 * monitor in time.
 * Runs on: main; the guests on threads.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { withScript } from '../../guest-kernels/initramfs.js';
import { leanGuest } from '../../guest-kernels/lean.js';
import { type Benchmark, type Context, inTurns, type Row } from './benchmark.js';
import { GREETING, sleeper } from './flat-guest.js';
import { VirtualMachine } from './library.js';

/** The two programs compute and do nothing else, so that what is measured is user space. Half a second on one processor. */
const JOBS = `
job() { awk 'BEGIN { for (i = 0; i < 600000; i++) sum += i % 7; exit sum == 0 }'; }
echo ready
while read -r word; do
  job & first=$!
  job & wait $first $!
  echo "done $word"
done`;
const BOOT_LIMIT = 120_000; // ms
const EXTRA = 3;

export const smp: Benchmark = {
  name: 'smp',
  async run(context) {
    return [await job(context), await start(context)];
  },
};

async function job(context: Context): Promise<Row> {
  const what = 'two programs that compute, on two vCPUs';
  if (availableParallelism() < 2) return { name: 'smp-job', what, why: 'this host has one processor' };
  const { kernel, initrd } = await leanGuest({ progress: context.progress });
  const image = withScript(readFileSync(initrd), JOBS);
  const boot = async (cpus: number): Promise<VirtualMachine> => {
    const vm = await VirtualMachine.start({ kernel, initrd: image, cpus, memory: '128M', cmdline: 'quiet' });
    vm.serial.resume();
    await vm.waitFor('ready', { timeout: BOOT_LIMIT });
    return vm;
  };
  await using two = await boot(2);
  await using one = await boot(1);
  let count = 0;
  const run = (vm: VirtualMachine) => async (): Promise<number> => {
    const word = String((count += 1));
    const started = performance.now();
    vm.serial.write(`${word}\n`);
    await vm.waitFor(`done ${word}`, { timeout: BOOT_LIMIT });
    return performance.now() - started;
  };
  const [ours = [], theirs = []] = await inTurns(context, what, [run(two), run(one)]);
  return {
    name: 'smp-job',
    what,
    unit: 'ms',
    ours,
    peer: { what: 'the same guest with one vCPU', samples: theirs },
    limit: { ratio: 1 / 1.8 },
    notes: ['the same kernel and initrd; both machines are up all the time, one of them idle'],
  };
}

async function start(context: Context): Promise<Row> {
  const started = (cpus: number) => async (): Promise<number> => {
    const before = performance.now();
    const vm = await VirtualMachine.create({
      kernel: sleeper(),
      flat: { irqchip: true },
      memory: '128M',
      cpus,
    });
    await vm.start();
    await vm.waitFor(GREETING);
    const time = performance.now() - before;
    await vm.kill();
    return time;
  };
  const [ours = [], theirs = []] = await inTurns(context, 'create + start with several vCPUs', [
    started(1 + EXTRA),
    started(1),
  ]);
  return {
    name: 'smp-start',
    what: `create + start → first instruction with ${1 + EXTRA} vCPUs`,
    unit: 'ms',
    ours,
    peer: { what: 'the same with one vCPU', samples: theirs },
    limit: {},
    notes: ['for information: what further vCPUs cost'],
  };
}
