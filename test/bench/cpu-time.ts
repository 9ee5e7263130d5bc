/** What a process has cost so far. Runs on: main. */
import { readFileSync } from 'node:fs';

/** User and system time of all threads of a process so far, µs (proc(5), "stat"). @throws Error when it is gone */
export function cpuTime(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  return (ticks * 1e6) / 100; // USER_HZ
}
