/**
 * How AsyncFile reaches the kernel: one operation each, without loops, alignment or promises. Two engines have this
 * shape: IoUring and the thread pool that Node has anyway.
 *
 * The result of an operation is what the system call would have returned: bytes moved, perhaps fewer than asked, or a
 * negative errno. `done` is called once, never before the call that started the operation has returned. Until then the
 * kernel may touch the buffers.
 * Runs on: main.
 */
export type Done = (result: number) => void;

export interface FileIo {
  readonly name: 'io_uring' | 'pool';
  readv(fd: number, offset: number, into: readonly Uint8Array[], done: Done): void;
  writev(fd: number, offset: number, from: readonly Uint8Array[], done: Done): void;
  /** fdatasync(): data, and the metadata needed to find it. */
  sync(fd: number, done: Done): void;
  /** @param mode FALLOC_FL flags */
  fallocate(fd: number, mode: number, offset: number, length: number, done: Done): void;
  /** Resolves when everything started has ended and the engine's own resources are gone. */
  close(): Promise<void>;
}
