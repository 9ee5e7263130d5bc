/**
 * net-turns.ts PLAN OUTPUT ROUNDS MONITOR…: measures networks in guests under the monitors in turns, and writes what there is to OUTPUT
 * after every boot. What OUTPUT has already is not measured again. Run in a network namespace: `unshare -n`.
 * Runs on: main, in a process of its own.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Progress } from '../../../guest-kernels/progress.js';
import type { NetResults } from '../guest-net.js';
import {
  measureNetwork,
  type NetBoot,
  type NetMonitor,
  type NetPlan,
  prepareNamespace,
} from '../net-guests.js';

const [planPath = '', output = '', rounds = '', ...names] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(planPath, 'utf8')) as NetPlan;
const monitors = names as NetMonitor[];
const before: NetResults = existsSync(output) ? (JSON.parse(readFileSync(output, 'utf8')) as NetResults) : {};
const results: Partial<Record<NetMonitor, NetBoot[]>> = Object.fromEntries(
  Object.entries(before).map(([monitor, boots]) => [monitor, [...boots]]),
);
for (const monitor of monitors) results[monitor] ??= [];

prepareNamespace();
const boots = Number(rounds) * monitors.length;
await new Progress().step('networks in guests', async (step) => {
  for (let round = 0; round < Number(rounds); round += 1) {
    for (const [index, monitor] of monitors.entries()) {
      step.update((round * monitors.length + index) / boots, monitor);
      const done = results[monitor]!;
      if (done.length > round) continue;
      done.push(await measureNetwork(plan, monitor));
      writeFileSync(`${output}.new`, JSON.stringify(results));
      renameSync(`${output}.new`, output);
      process.stderr.write(`measured ${monitor}: ${told(done.at(-1)!)}\n`);
    }
  }
});
process.exit(0);

/** Whoever stops a long run has at least this. */
function told(boot: NetBoot): string {
  const figure = (one: NetBoot[string]): string => ('time' in one ? `${one.time.toFixed(0)} µs` : one.why);
  return Object.entries(boot)
    .map(([job, one]) => `${job} ${figure(one)}`)
    .join(', ');
}
