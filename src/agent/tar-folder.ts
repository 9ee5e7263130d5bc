/**
 * Folders of this host as tar archives, and back. What comes from a guest is written below one folder and nowhere else: its names may not
 * lead out, and a link it made is never followed.
 * Runs on: main.
 */
import { createReadStream } from 'node:fs';
import {
  chmod,
  type FileHandle,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  rm,
  symlink,
  utimes,
} from 'node:fs/promises';
import { join } from 'node:path';
import { VmmError } from '../base/errors.js';
import {
  BLOCK,
  type ByteSource,
  encodeEntry,
  padding,
  readEntry,
  type TarEntry,
  tarError,
} from './tar-format.js';

/** Entries of an archive of a guest. */
const MAX_ENTRIES = 1_000_000;
/** Read from an archive and written at once. */
const PIECE = 256 * 1024;

/** What was carried. */
export interface FolderCopy {
  /** Files, folders and links. */
  readonly entries: number;
  /** Bytes of files. */
  readonly bytes: number;
  /** What was left out, paths below the folder: devices, pipes, sockets. */
  readonly skipped: readonly string[];
}
type Counts = { entries: number; bytes: number; readonly skipped: string[] };
export const noCopy = (): Counts => ({ entries: 0, bytes: 0, skipped: [] });

/** A folder's content. @throws the errors of node:fs; VmmError ERR_FILE for a file that shrinks meanwhile */
export async function* packFolder(folder: string, counts: Counts = noCopy()): AsyncGenerator<Buffer> {
  yield* packBelow(folder, '', counts);
  yield Buffer.alloc(2 * BLOCK);
}

async function* packBelow(folder: string, below: string, counts: Counts): AsyncGenerator<Buffer> {
  for (const leaf of (await readdir(join(folder, below))).sort()) {
    const name = below === '' ? leaf : `${below}/${leaf}`;
    const path = join(folder, name);
    const status = await lstat(path);
    const { mtimeMs } = status;
    const facts = { name, mode: status.mode & 0o7777, mtimeMs, size: 0, target: '' };
    if (status.isDirectory()) {
      yield encodeEntry({ ...facts, name: `${name}/`, type: 'folder' });
      yield* packBelow(folder, name, counts);
    } else if (status.isSymbolicLink()) {
      yield encodeEntry({ ...facts, type: 'symlink', target: await readlink(path) });
    } else if (status.isFile()) {
      yield encodeEntry({ ...facts, type: 'file', size: status.size });
      yield* packFile(path, status.size);
      counts.bytes += status.size;
    } else {
      counts.skipped.push(name);
      continue;
    }
    counts.entries += 1;
  }
}

async function* packFile(path: string, size: number): AsyncGenerator<Buffer> {
  let left = size;
  // One that grows meanwhile is as long as it was.
  if (size > 0) {
    for await (const chunk of createReadStream(path, { end: size - 1, highWaterMark: PIECE })) {
      left -= (chunk as Buffer).length;
      yield chunk as Buffer;
    }
  }
  if (left > 0) throw new VmmError('ERR_FILE', `${path}: became shorter while it was read`);
  if (padding(size) > 0) yield Buffer.alloc(padding(size));
}

/**
 * Writes an archive below a folder, which is there. What has the same name is replaced, but a folder never by something else. Set-id bits
 * are left out, and so are owners.
 * @param maxBytes of all files @throws VmmError ERR_AGENT for what cannot be believed, the errors of node:fs
 */
export async function unpackFolder(
  stream: AsyncIterable<Buffer>,
  folder: string,
  maxBytes: number,
  counts: Counts = noCopy(),
): Promise<Counts> {
  const source = new Bytes(stream);
  const safe = new SafePaths(folder);
  const folders: { path: string; mode: number }[] = [];
  for (let entry = await readEntry(source); entry; entry = await readEntry(source)) {
    counts.entries += 1;
    counts.bytes += entry.size;
    if (counts.entries > MAX_ENTRIES) throw tarError(`more than ${MAX_ENTRIES} entries`);
    if (counts.bytes > maxBytes) throw tarError(`more than ${maxBytes} bytes`);
    const parts = partsOf(entry.name);
    if (parts.length === 0) continue; // the folder itself
    const path = await safe.place(parts);
    if (entry.type === 'folder') {
      await safe.enter(path);
      folders.push({ path, mode: entry.mode & 0o777 });
    } else if (entry.type === 'other') {
      counts.entries -= 1;
      counts.skipped.push(parts.join('/'));
    } else {
      await rm(path, { force: true });
      if (entry.type === 'symlink') await symlink(entry.target, path);
      else if (entry.type === 'link') await link(await safe.file(partsOf(entry.target)), path);
      else await unpackFile(source, entry, path);
    }
  }
  // Last, and the innermost first: one that may not be written to can be filled until then.
  for (const { path, mode } of folders.reverse()) await chmod(path, mode);
  return counts;
}

async function unpackFile(source: Bytes, { size, mode, mtimeMs }: TarEntry, path: string): Promise<void> {
  await using file: FileHandle = await open(path, 'wx', mode & 0o777);
  for (let left = size; left > 0; ) {
    const chunk = await source.read(Math.min(left, PIECE));
    await file.writeFile(chunk);
    left -= chunk.length;
  }
  await source.read(padding(size));
  await file.chmod(mode & 0o777);
  await utimes(path, mtimeMs / 1000, mtimeMs / 1000);
}

function partsOf(name: string): string[] {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (name.startsWith('/') || parts.includes('..') || name.includes('\0'))
    throw tarError(`a name that leads out of its folder: ${JSON.stringify(name)}`);
  return parts;
}

/** Paths below a folder of which every part but the last is a real folder. */
class SafePaths {
  readonly #known = new Set<string>();

  constructor(private readonly root: string) {
    this.#known.add(root);
  }

  /** Makes what is missing above it. */
  async place(parts: readonly string[]): Promise<string> {
    let path = this.root;
    for (const part of parts.slice(0, -1)) {
      path = join(path, part);
      await this.enter(path);
    }
    return join(path, parts.at(-1)!);
  }

  /** Makes a folder, or finds it to be one. */
  async enter(path: string): Promise<void> {
    if (this.#known.has(path)) return;
    await mkdir(path).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST' || !(await lstat(path)).isDirectory())
        throw error.code === 'EEXIST' ? tarError(`${path} is in its way, and no folder`) : error;
    });
    this.#known.add(path);
  }

  /** One that is there, for a hard link. */
  async file(parts: readonly string[]): Promise<string> {
    if (parts.length === 0) throw tarError('a link to nothing');
    const path = await this.place(parts);
    if (!(await lstat(path)).isFile()) throw tarError(`a link to ${path}, which is no file`);
    return path;
  }
}

/** A stream read in exact pieces. */
class Bytes implements ByteSource {
  readonly #stream: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(stream: AsyncIterable<Buffer>) {
    this.#stream = stream[Symbol.asyncIterator]();
  }

  async read(length: number): Promise<Buffer> {
    const parts = [this.#rest];
    let have = this.#rest.length;
    while (have < length) {
      const { value, done } = await this.#stream.next();
      if (done) throw tarError('it ends too early');
      parts.push(value);
      have += value.length;
    }
    const all = parts.length === 1 ? this.#rest : Buffer.concat(parts);
    this.#rest = all.subarray(length);
    return all.subarray(0, length);
  }
}
