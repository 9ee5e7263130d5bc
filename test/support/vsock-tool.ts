/** The guest's program for tests of sockets (vsock.c), compiled, as a file of its initramfs. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CpioEntry } from '../../guest-kernels/cpio.js';
import { compileC } from './compile.js';

export function vsockTool(): CpioEntry {
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-vsock-tool-'));
  try {
    const source = join(import.meta.dirname, 'vsock.c');
    const program = compileC(source, join(folder, 'vsock'), ['-static', '-Os', '-s']);
    return { type: 'file', path: 'bin/vsock', mode: 0o755, data: readFileSync(program) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
