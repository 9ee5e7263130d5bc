/**
 * A kernel, initrd or flat image as the embedder gave it: a path, a file: URL, or bytes. Files are read straight into
 * guest memory, never through the JavaScript heap.
 * Runs on: main.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { VmmError } from '../base/errors.js';
import type { Gpa } from '../base/units.js';
import type { Ram } from '../memory/ram.js';

export type GuestFileSource = string | URL | Uint8Array;

export interface GuestFile extends Disposable {
  readonly size: number; // bytes
  /** Copies bytes out, for headers. Shorter than asked for only at the end of the file. */
  read(offset: number, length: number): Uint8Array;
  /** Puts bytes into guest memory. */
  copyTo(ram: Ram, offset: number, at: Gpa, length: number): void;
}

/**
 * @param what `kernel` or `initrd`, for messages
 * @throws VmmError ERR_FILE naming the file and what is wrong with it
 */
export function openGuestFile(what: string, source: GuestFileSource): GuestFile {
  return source instanceof Uint8Array ? fromBytes(source) : fromPath(what, source);
}

function fromBytes(bytes: Uint8Array): GuestFile {
  return {
    size: bytes.length,
    read: (offset, length) => bytes.subarray(offset, offset + length),
    copyTo: (ram, offset, at, length) => ram.memory.write(at, bytes.subarray(offset, offset + length)),
    [Symbol.dispose]() {},
  };
}

function fromPath(what: string, source: string | URL): GuestFile {
  const path = source instanceof URL ? fileURLToPath(source) : source;
  let fd: number;
  try {
    // Without O_NONBLOCK a named pipe would hold the event loop until somebody writes to it.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new VmmError('ERR_FILE', `${what}: ${PROBLEMS[code ?? ''] ?? code}: ${path}`, { cause: error });
  }
  const stat = fstatSync(fd);
  if (!stat.isFile()) {
    closeSync(fd);
    throw new VmmError(
      'ERR_FILE',
      `${what}: ${stat.isDirectory() ? 'is a directory' : 'not a regular file'}: ${path}`,
    );
  }
  return {
    size: stat.size,
    read(offset, length) {
      const bytes = new Uint8Array(Math.max(0, Math.min(length, stat.size - offset)));
      const got = readSync(fd, bytes, 0, bytes.length, offset);
      return bytes.subarray(0, got);
    },
    copyTo: (ram, offset, at, length) => ram.readFrom(fd, offset, at, length),
    [Symbol.dispose]: () => closeSync(fd),
  };
}

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  ENOTDIR: 'no such file',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
};
