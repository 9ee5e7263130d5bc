/**
 * many-vms.ts COUNT PER_SAMPLE CPUS: starts VMs with so many vCPUs each, and prints, for every few of them, how many bytes of private memory one took. Needs --expose-gc.
 * Runs on: main, in a process of its own.
 */
import { readFileSync } from 'node:fs';
import { GREETING, sleeper } from '../flat-guest.js';
import { VirtualMachine } from '../library.js';

const [count = 0, perSample = 1, cpus = 1] = process.argv.slice(2).map(Number);

const start = async (): Promise<VirtualMachine> => {
  const vm = await VirtualMachine.start({ kernel: sleeper(), flat: { irqchip: true }, memory: '128M', cpus });
  await vm.waitFor(GREETING);
  return vm;
};

function privateDirty(): number {
  globalThis.gc!();
  const match = /^Private_Dirty:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/smaps_rollup', 'utf8'));
  return Number(match![1]) * 1024;
}

// The first few load code and fill caches.
const vms = [await start(), await start(), await start()];
let before = privateDirty();
for (let started = 0; started < count; started += perSample) {
  for (let i = 0; i < perSample; i += 1) vms.push(await start());
  const now = privateDirty();
  process.stdout.write(`${(now - before) / perSample}\n`);
  before = now;
}
await Promise.all(vms.map((vm) => vm.kill()));
