/**
 * File I/O on libuv's thread pool, for hosts that bar io_uring: slower, and shared with everything else that uses
 * node:fs, but always there.
 * Runs on: main; the calls themselves on the pool.
 */
import { fdatasync, readv, writev } from 'node:fs';
import type { Done, FileIo } from './file-io.js';
import { fallocateAsync } from './libc.js';

export class PoolIo implements FileIo {
  readonly name = 'pool';
  #unfinished = 0;
  #onIdle: (() => void) | undefined;

  readv(fd: number, offset: number, into: readonly Uint8Array[], done: Done): void {
    readv(fd, into, offset, this.#ending(done));
  }

  writev(fd: number, offset: number, from: readonly Uint8Array[], done: Done): void {
    writev(fd, from, offset, this.#ending(done));
  }

  sync(fd: number, done: Done): void {
    fdatasync(fd, this.#ending(done));
  }

  fallocate(fd: number, mode: number, offset: number, length: number, done: Done): void {
    const end = this.#ending(done);
    fallocateAsync(fd, mode, offset, length, (result) =>
      result < 0 ? end(Object.assign(new Error('fallocate'), { errno: result })) : end(null),
    );
  }

  async close(): Promise<void> {
    if (this.#unfinished > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
  }

  /** Node's callback as ours. libuv's error numbers are Linux's, negative (uv-errno.h). */
  #ending(done: Done): (error: NodeJS.ErrnoException | null, count?: number) => void {
    this.#unfinished += 1;
    return (error, count = 0) => {
      this.#unfinished -= 1;
      done(error ? (error.errno ?? -1) : count);
      if (this.#unfinished === 0) this.#onIdle?.();
    };
  }
}
