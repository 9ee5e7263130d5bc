/** Programs that tests use where they are there. */
import { execFileSync } from 'node:child_process';

/** Whether this host has a program. */
export const hasProgram = (name: string): boolean => {
  try {
    execFileSync('sh', ['-c', 'command -v "$1"', 'sh', name], { stdio: 'pipe' });
    return true;
  } catch {
    return false;
  }
};
