/** Where `cp` copies from and to: a guest, this host, standard input and output. */
import { createReadStream } from 'node:fs';
import { lstat, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { GuestCallError, type GuestFiles, VmmError } from '../index.js';
import type { CopyPlace } from './copy.js';

/** Bytes that are read or written at once. */
const PIECE = 256 * 1024;

const isMissing = (error: unknown): boolean =>
  error instanceof GuestCallError
    ? error.errnoName === 'ENOENT'
    : (error as NodeJS.ErrnoException).code === 'ENOENT';

/** Files of a guest. */
export class GuestPlace implements CopyPlace {
  constructor(private readonly files: GuestFiles) {}

  async stat(path: string) {
    try {
      return await this.files.stat(path);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }
  list(path: string): Promise<string[]> {
    return this.files.readdir(path);
  }
  read(path: string): AsyncIterable<Uint8Array> {
    return this.files.createReadStream(path);
  }
  write(path: string, mode: number, data: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    return this.files.writeFile(path, data, { mode, signal });
  }
  async discard(path: string): Promise<boolean> {
    if ((await this.files.stat(path, { follow: false })).type !== 'file') return false;
    await this.files.rm(path);
    return true;
  }
  async makeFolder(path: string, mode: number): Promise<void> {
    if ((await this.stat(path))?.type !== 'directory') await this.files.mkdir(path, { mode });
  }
}

/** What this host says of a file, for people. */
async function told<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof VmmError) throw error;
    throw new VmmError('ERR_FILE', `${path}: ${(error as NodeJS.ErrnoException).code ?? error}`, {
      cause: error,
    });
  }
}

/** The same bytes in larger pieces: a write costs as much as it takes to copy this. */
async function* inPieces(data: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let waiting: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of data) {
    waiting.push(chunk);
    length += chunk.length;
    if (length < PIECE) continue;
    yield Buffer.concat(waiting);
    waiting = [];
    length = 0;
  }
  if (length > 0) yield Buffer.concat(waiting);
}

/** Files of this host. */
export class LocalPlace implements CopyPlace {
  stat(path: string) {
    return told(path, async () => {
      try {
        const status = await stat(path);
        const type = status.isFile() ? 'file' : status.isDirectory() ? 'directory' : 'device or socket';
        return { type, mode: status.mode };
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    });
  }
  list(path: string): Promise<string[]> {
    return told(path, () => readdir(path));
  }
  async *read(path: string): AsyncGenerator<Uint8Array> {
    try {
      yield* createReadStream(path, { highWaterMark: PIECE });
    } catch (error) {
      await told(path, () => Promise.reject(error));
    }
  }
  write(path: string, mode: number, data: AsyncIterable<Uint8Array>): Promise<void> {
    return told(path, async () => {
      await using file = await open(path, 'w', mode);
      for await (const piece of inPieces(data)) await file.writeFile(piece);
    });
  }
  async discard(path: string): Promise<boolean> {
    if (!(await lstat(path)).isFile()) return false;
    await rm(path);
    return true;
  }
  makeFolder(path: string, mode: number): Promise<void> {
    return told(path, async () => {
      if ((await this.stat(path))?.type !== 'directory') await mkdir(path, { mode });
    });
  }
}

/** `-`: one file, which is read from standard input or written to standard output. */
export class StandardStreams implements CopyPlace {
  async stat() {
    return { type: 'file', mode: 0o644 };
  }
  async list(): Promise<string[]> {
    return [];
  }
  read(): AsyncIterable<Uint8Array> {
    return process.stdin;
  }
  async write(_path: string, _mode: number, data: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      await pipeline(data, process.stdout, { end: false });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
    }
  }
  /** What has been written is somebody else's. */
  async discard(): Promise<boolean> {
    return true;
  }
  async makeFolder(): Promise<void> {
    throw new VmmError('ERR_FILE', 'a folder cannot go to standard output');
  }
}
