/**
 * vsock-turns.ts PLAN OUTPUT ROUNDS MONITOR…: measures sockets between guests and their host under the monitors in turns, as
 * turns.ts says.
 * Runs on: main, in a process of its own.
 */
import { readFileSync } from 'node:fs';
import { takeTurns } from '../turns.js';
import { measureVsock, type VsockMonitor, type VsockPlan } from '../vsock-guests.js';

const [planPath = '', output = '', rounds = '', ...monitors] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(planPath, 'utf8')) as VsockPlan;
await takeTurns('sockets of guests', { output, rounds: Number(rounds), monitors }, (monitor) =>
  measureVsock(plan, monitor as VsockMonitor),
);
process.exit(0);
