/**
 * What a qcow2 image needs from the file that holds it. Opening, locking, O_DIRECT and alignment are the file's business;
 * which bytes go where, and in which order they become durable, is the image's.
 */

export interface ImageFile {
  /** Bytes now. Grows when something is written past its end; the gap reads as zeroes. */
  readonly size: number;
  /** Fills the buffers from `offset` on. Bytes past the end of the file are zeroes. */
  readv(offset: number, into: readonly Uint8Array[]): void | Promise<void>;
  /** Stores the buffers from `offset` on. They need not be durable before `sync`. */
  writev(offset: number, from: readonly Uint8Array[]): void | Promise<void>;
  /** Settles when every write that had completed before the call is durable, with the file's size. */
  sync(): void | Promise<void>;
  /** Gives the storage of a range back; it reads as zeroes afterwards. Absent where the host cannot. */
  punch?(offset: number, length: number): void | Promise<void>;
  close(): void | Promise<void>;
}

/** The files of a chain, by path. @throws HostError for what cannot be opened */
export interface ImageFiles {
  /** The same for every name of one file (device and inode): how a loop of backing files is seen. */
  identify(path: string): Promise<string>;
  open(path: string, options: { readonly readOnly: boolean }): Promise<ImageFile>;
}
