/** A folder that goes with the test file, and what tests of the command put into it. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  constants,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { real } from './assemble.js';
import { compileC } from './compile.js';

export interface FullPipe {
  readonly path: string;
  readonly reading: number;
  readonly writing: number;
  /** Bytes in it. */
  readonly length: number;
}

export class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'typevisor-cli-'));

  #pipes = 0;

  constructor() {
    chmodSync(this.path, 0o755); // for tests that run as somebody else
  }

  file(name: string, content: string | Uint8Array): string {
    const path = join(this.path, name);
    writeFileSync(path, content);
    return path;
  }

  /** @returns the path of a flat real-mode guest */
  guest(name: string, source: string): string {
    return this.file(name, real(source));
  }

  /** A named pipe filled to the brim, both ends open. */
  fullPipe(): FullPipe {
    const path = join(this.path, `pipe${this.#pipes++}`);
    execFileSync('mkfifo', [path]);
    const reading = openSync(path, 'r+'); // the writing end cannot be opened before
    const writing = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    const block = new Uint8Array(4096);
    for (let length = 0; ; length += block.length) {
      try {
        writeSync(writing, block);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        return { path, reading, writing, length };
      }
    }
  }

  /** @returns the path of a file of `size` zeros that takes no room */
  zeros(name: string, size: number): string {
    const path = this.file(name, '');
    truncateSync(path, size);
    return path;
  }

  /** @returns the path of what the C compiler makes of `source` */
  program(name: string, source: string, flags: readonly string[] = []): string {
    return compileC(this.file(`${name}.c`, source), join(this.path, name), flags);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
