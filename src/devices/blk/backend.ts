/**
 * What a virtio block device needs from the host: the one interface between the device and every disk, and the
 * one an embedder implements to plug in a disk of their own.
 *
 * Buffers alias guest memory. They are lent: from the call until it returns or its promise settles, and not a
 * moment longer. A back end that touched one afterwards would write into memory the guest uses for something else.
 *
 * Failure is an exception or a rejection, best a HostError with `errnoName` (`EIO`, `ENOSPC`); the device answers
 * the guest with VIRTIO_BLK_S_IOERR (virtio 1.2 §5.2.6) and lives on.
 *
 * Requests overlap: the device calls again before earlier promises settle, for other ranges and for the same. Two
 * requests in flight on one range may take effect in any order, as on a real disk.
 * Runs on: main.
 */
export interface BlockBackend {
  /** Capacity in bytes, a multiple of 512. May change while the VM runs (a resize). */
  readonly size: number;
  /** True: the device refuses writes and tells the driver so (VIRTIO_BLK_F_RO). Without `write` it is implied. */
  readonly readOnly?: boolean;
  /** Preferred unit of I/O in bytes for the guest's topology: a power of two, 512 at least. */
  readonly blockSize?: number;

  /** Fills all of `into` with the bytes at `offset`. The range lies inside `size`; sectors are not checked here. */
  read(offset: number, into: Uint8Array): void | Promise<void>;
  /** Stores all of `from` at `offset`. It need not be durable before the next `flush`. */
  write?(offset: number, from: Uint8Array): void | Promise<void>;

  /** One request in several pieces, consecutive on the disk. Without it the device calls `read` for each piece. */
  readv?(offset: number, into: readonly Uint8Array[]): void | Promise<void>;
  /** As `readv`, for writing. */
  writev?(offset: number, from: readonly Uint8Array[]): void | Promise<void>;

  /** Settles when every write that had completed before the call is durable. */
  flush?(): void | Promise<void>;
  /** The guest no longer needs the range: its contents become whatever the back end likes, old bytes or zeroes. */
  discard?(offset: number, length: number): void | Promise<void>;
  /** The range reads as zeroes afterwards. `mayUnmap`: its storage may be given back (virtio 1.2 §5.2.6). */
  writeZeroes?(offset: number, length: number, mayUnmap: boolean): void | Promise<void>;

  /** Gives up the disk; called once, when no request is in flight. */
  close?(): void | Promise<void>;
}
