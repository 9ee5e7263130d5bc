/**
 * Copies a file or a folder with all that is in it, as cp -rL: links are followed. One side may be a guest, which is hostile: the names it
 * tells are names and no paths, its files' set-id bits stay with it, and a folder that never ends does.
 */
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, stat } from 'node:fs/promises';
import { basename, posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { GuestCallError, type GuestFiles, VmmError } from '../index.js';

/** Folders in folders: links may lead in circles. */
const MOST_DEPTH = 64;

export interface CopyPlace {
  /** @returns undefined when nothing is there */
  stat(path: string): Promise<{ readonly type: string; readonly mode: number } | undefined>;
  list(path: string): Promise<string[]>;
  read(path: string): AsyncIterable<Uint8Array>;
  /** Makes or replaces a file. */
  write(path: string, mode: number, data: AsyncIterable<Uint8Array>): Promise<void>;
  /** Makes a folder, if there is none. */
  makeFolder(path: string, mode: number): Promise<void>;
}

/**
 * @param to a folder that is there, or ends in `/`, gets what is copied under its own name
 * @param leaveOut told of what cannot be copied inside of a folder: devices, sockets, links that lead nowhere
 * @returns how much was left out
 * @throws VmmError ERR_FILE, GuestCallError
 */
export async function copy(
  source: CopyPlace,
  from: string,
  target: CopyPlace,
  to: string,
  leaveOut: (what: string) => void,
): Promise<number> {
  const start = await source.stat(from);
  if (!start) throw new VmmError('ERR_FILE', `no such file: ${from}`);
  const there = await target.stat(to);
  const inside = there?.type === 'directory' || (!there && to.endsWith('/') && start.type !== 'directory');
  if (!there && inside) throw new VmmError('ERR_FILE', `no such folder: ${to}`);
  const name = from === '-' ? '' : basename(from);
  if (inside && !isFileName(name)) {
    throw new VmmError('ERR_FILE', `${to} is a folder, and ${from} has no name for a file in it`, {
      hint: 'name the file',
    });
  }
  const end = inside ? posix.join(to, name) : to;
  let left = 0;
  const skip = (what: string): void => {
    left += 1;
    leaveOut(what);
  };
  await copyEntry(from, end, start, 0);
  return left;

  async function copyEntry(
    path: string,
    copied: string,
    { type, mode }: { readonly type: string; readonly mode: number },
    depth: number,
  ): Promise<void> {
    if (type === 'file') return target.write(copied, mode & 0o777, source.read(path));
    if (type !== 'directory') {
      if (depth === 0) throw new VmmError('ERR_FILE', `${path} is neither a file nor a folder: ${type}`);
      return skip(`${path} is a ${type}`);
    }
    if (depth === MOST_DEPTH) return skip(`${path} is ${depth} folders deep`);
    // Its owner must be able to write into it until it is complete.
    await target.makeFolder(copied, (mode & 0o777) | 0o700);
    for (const entry of (await source.list(path)).sort()) {
      if (!isFileName(entry)) {
        skip(`${path} has a file of the name "${entry}"`);
        continue;
      }
      const [inner, outer] = [posix.join(path, entry), posix.join(copied, entry)];
      const status = await source.stat(inner);
      if (status) await copyEntry(inner, outer, status, depth + 1);
      else skip(`${inner} is a link that leads nowhere`);
    }
  }
}

/** What names a file in a folder, and can lead nowhere else. */
export const isFileName = (name: string): boolean =>
  name !== '' && name !== '.' && name !== '..' && !name.includes('/') && !name.includes('\0');

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
  write(path: string, mode: number, data: AsyncIterable<Uint8Array>): Promise<void> {
    return this.files.writeFile(path, data, { mode });
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
      yield* createReadStream(path, { highWaterMark: 256 * 1024 });
    } catch (error) {
      await told(path, () => Promise.reject(error));
    }
  }
  write(path: string, mode: number, data: AsyncIterable<Uint8Array>): Promise<void> {
    return told(path, async () => {
      await using file = await open(path, 'w', mode);
      for await (const chunk of data) await file.writeFile(chunk);
    });
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
  async makeFolder(): Promise<void> {
    throw new VmmError('ERR_FILE', 'a folder cannot go to standard output');
  }
}
