/** A TypeScript program in a process of its own, for tests of what happens when processes meet or die. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

export interface ChildProgram {
  readonly process: ChildProcess;
  /** Resolves with everything printed up to a match. */
  says(pattern: RegExp): Promise<string>;
  /** Resolves when it has ended. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; output: string }>;
}

/**
 * @param source the body of a module; `{{x.js}}` is the path of x below the repository's root, for imports
 */
export function childProgram(source: string, env: Record<string, string> = {}): ChildProgram {
  const code = source.replace(/\{\{([^}]+)\}\}/g, (_, path: string) => join(ROOT, path));
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  const waiting: (() => void)[] = [];
  child.stdout.on('data', (chunk) => {
    output += chunk;
    for (const check of waiting) check();
  });
  const ended = new Promise<Awaited<ChildProgram['ended']>>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, output }));
  });
  return {
    process: child,
    ended,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          if (pattern.test(output)) resolve(output);
        };
        waiting.push(check);
        check();
        void ended.then(() => reject(new Error(`it ended without ${pattern}: ${output}`)));
      }),
  };
}
