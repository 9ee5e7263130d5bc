/** What processes there are, for tests that nothing is left behind. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly args: readonly string[];
}

/** Living processes; zombies are not. */
function processes(): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const args = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
        // proc(5): pid (name) state ppid …
        const [state, parent] = readFileSync(`/proc/${pid}/stat`, 'latin1')
          .replace(/^.*\) /s, '')
          .split(' ');
        return state === 'Z' || state === 'X' ? [] : [{ pid: Number(pid), parent: Number(parent), args }];
      } catch (error) {
        // It ended meanwhile.
        if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
        throw error;
      }
    });
}

/** Pids of processes one of whose arguments is `word`. */
export const processesWith = (word: string): number[] =>
  processes()
    .filter(({ args }) => args.includes(word))
    .map(({ pid }) => pid);

/** Pids of a process's children. */
export const childrenOf = (pid: number): number[] =>
  processes()
    .filter(({ parent }) => parent === pid)
    .map((child) => child.pid);

/** Polls until `condition` holds. @throws Error after `limit` ms */
export async function until(condition: () => boolean, what: string, limit = 10_000): Promise<void> {
  const end = Date.now() + limit;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not in ${limit} ms: ${what}`);
    await sleep(10);
  }
}
