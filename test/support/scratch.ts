/** Folders and file systems that are gone when the test is over. */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Iovecs } from '../../src/host/iovecs.js';
import { tryPreadv2 } from '../../src/host/libc.js';

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

interface Abilities {
  readonly direct: boolean;
  readonly zeroRange: boolean;
  /** Reads that may not wait (preadv2(2), RWF_NOWAIT). */
  readonly nowait: boolean;
}

/** What the file system under a folder can do: a tmpfs has no O_DIRECT before Linux 6.6, and no ZERO_RANGE at all. */
export function abilities({ path }: Scratch): Abilities {
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
    nowait: readsWithoutWaiting(probe),
  };
  rmSync(probe);
  return able;
}

function readsWithoutWaiting(path: string): boolean {
  const fd = openSync(path, 'r');
  const iovecs = new Iovecs();
  const RWF_NOWAIT = 0x8; // <linux/fs.h>
  const result = tryPreadv2(fd, iovecs.address, iovecs.set([new Uint8Array(512)]), 0, RWF_NOWAIT);
  closeSync(fd);
  return result === 512;
}
