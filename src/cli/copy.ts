/**
 * Copies a file or a folder with all that is in it, as cp -rL: links are followed. One side may be a guest, which is hostile: the names it
 * tells are names and no paths, its files' set-id bits stay with it, and a folder that never ends does. A file whose copy is broken off is
 * taken away again: what has a file's name has all of it.
 */
import { basename, posix } from 'node:path';
import { orAborted, untilAborted } from '../base/abort.js';
import { VmmError } from '../index.js';

/** Folders in folders: links may lead in circles. */
const MOST_DEPTH = 64;
/** How long it may take to take away a half file, ms: the disk or the guest may be what broke off the copy. */
const CLEAN_MS = 5000;
/** What stands in a name for bytes that are no UTF-8. */
const REPLACEMENT = '\ufffd';

export interface CopyPlace {
  /** @returns undefined when nothing is there */
  stat(path: string): Promise<{ readonly type: string; readonly mode: number } | undefined>;
  list(path: string): Promise<string[]>;
  read(path: string): AsyncIterable<Uint8Array>;
  /** Makes or replaces a file; reads nothing of `data` before it is open. What was written stays if that fails or is aborted. */
  write(path: string, mode: number, data: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
  /** Takes away a file. @returns false for what is none, as a device, or a link */
  discard(path: string): Promise<boolean>;
  /** Makes a folder, if there is none. */
  makeFolder(path: string, mode: number): Promise<void>;
}

export interface CopyWatch {
  /** Told of what cannot be copied inside of a folder: devices, sockets, links that lead nowhere. */
  leaveOut(what: string): void;
  /** Told of a half file that could not be taken away again. */
  leaveHalf(path: string): void;
  /** Its abort ends the copy. */
  readonly signal: AbortSignal;
}

/**
 * @param to a folder that is there, or ends in `/`, gets what is copied under its own name
 * @returns how much was left out
 * @throws VmmError ERR_FILE, GuestCallError; the signal's reason
 */
export async function copy(
  source: CopyPlace,
  from: string,
  target: CopyPlace,
  to: string,
  { leaveOut, leaveHalf, signal }: CopyWatch,
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
    signal.throwIfAborted();
    if (type === 'file') return copyFile(path, copied, mode & 0o777);
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
      else if (entry.includes(REPLACEMENT)) skip(`${inner} has a name that is no UTF-8`);
      else skip(`${inner} is a link that leads nowhere`);
    }
  }

  async function copyFile(path: string, copied: string, mode: number): Promise<void> {
    const watched = new Watched(source.read(path), signal);
    try {
      await target.write(copied, mode, watched, signal);
    } catch (error) {
      // A file that could not even be opened is as it was.
      if (watched.begun && !(await discarded(target, copied))) leaveHalf(copied);
      throw error;
    }
  }
}

/** Data that an abort ends, even if none comes, and that knows whether anybody has asked for it. */
class Watched implements AsyncIterable<Uint8Array> {
  begun = false;

  constructor(
    private readonly data: AsyncIterable<Uint8Array>,
    private readonly signal: AbortSignal,
  ) {}

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    this.begun = true;
    return untilAborted(this.data, this.signal);
  }
}

async function discarded(place: CopyPlace, path: string): Promise<boolean> {
  const limit = AbortSignal.timeout(CLEAN_MS);
  return orAborted(place.discard(path), limit).catch(() => false);
}

/** What names a file in a folder, and can lead nowhere else. */
export const isFileName = (name: string): boolean =>
  name !== '' && name !== '.' && name !== '..' && !name.includes('/') && !name.includes('\0');
