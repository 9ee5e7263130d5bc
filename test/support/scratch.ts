/** Folders and file systems that are gone when the test is over. */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Scratch extends Disposable {
  readonly folder: string;
  path(name: string): string;
}

export function scratch(): Scratch {
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-scratch-'));
  return {
    folder,
    path: (name) => join(folder, name),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A file system in memory, of that size. Needs the right to mount. */
export function tmpfs(bytes: number): Scratch {
  const outer = scratch();
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'scratch', outer.folder]);
  return {
    ...outer,
    [Symbol.dispose]() {
      execFileSync('umount', ['-l', outer.folder]);
      outer[Symbol.dispose]();
    },
  };
}

/** Whether this process may mount. */
export function mayMount(): boolean {
  try {
    tmpfs(2 ** 16)[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
}

/** What the file system under a folder can do: a tmpfs has no O_DIRECT before Linux 6.6, and no ZERO_RANGE at all. */
export function abilities({ path }: Scratch): { readonly direct: boolean; readonly zeroRange: boolean } {
  const probe = path('probe');
  writeFileSync(probe, new Uint8Array(8192));
  const works = (attempt: () => void): boolean => {
    try {
      attempt();
      return true;
    } catch {
      return false;
    }
  };
  const able = {
    direct: works(() => closeSync(openSync(probe, constants.O_RDWR | constants.O_DIRECT))),
    zeroRange: works(() => execFileSync('fallocate', ['-z', '-l', '4096', probe], { stdio: 'ignore' })),
  };
  rmSync(probe);
  return able;
}
