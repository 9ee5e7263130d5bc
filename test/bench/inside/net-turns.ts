/**
 * net-turns.ts PLAN OUTPUT ROUNDS MONITOR…: measures networks in guests under the monitors in turns, as turns.ts says.
 * Run in a network namespace: `unshare -n`.
 * Runs on: main, in a process of its own.
 */
import { readFileSync } from 'node:fs';
import { measureNetwork, type NetMonitor, type NetPlan, prepareNamespace } from '../net-guests.js';
import { takeTurns } from '../turns.js';

const [planPath = '', output = '', rounds = '', ...monitors] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(planPath, 'utf8')) as NetPlan;
prepareNamespace();
await takeTurns('networks in guests', { output, rounds: Number(rounds), monitors }, (monitor) =>
  measureNetwork(plan, monitor as NetMonitor),
);
process.exit(0);
