/**
 * rig-exec.ts PLAN OUTPUT ROUNDS STOPWATCH: programs in guests under our monitor and under QEMU, in turns. Run inside the rig.
 * Runs on: main, in a process of its own.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { Progress } from '../../../guest-kernels/progress.js';
import { type ExecPlan, measureExec } from '../exec-guests.js';

const [plan = '', output = '', rounds = '', stopwatch = ''] = process.argv.slice(2);
const context = { rounds: Number(rounds), progress: new Progress(), peer: () => stopwatch };
const samples = await measureExec(context, JSON.parse(readFileSync(plan, 'utf8')) as ExecPlan);
writeFileSync(output, JSON.stringify(samples));
process.exit(0);
