/**
 * The backing file of an image: found, checked and opened for reading. The header says which format it has and nothing
 * else does: to look at the data would let a guest that writes a raw disk turn it into a qcow2 image that names any file
 * of the host. A header that does not say it is refused, with the command that records it. (QEMU still guesses for such
 * images, with a warning; "raw" would be the safe guess, and wrong for most of them.)
 */
import { dirname, resolve } from 'node:path';
import type { BackingDisk } from './guest-reader.js';
import type { Qcow2Header } from './header.js';
import { ImageError } from './image-error.js';
import type { ImageFile, ImageFiles } from './image-file.js';

/** Longer chains are hardly ever meant; each image costs a file descriptor and a cache. */
const MAX_DEPTH = 32;

/** The images above the one that is being opened, and how to open more. */
export interface Chain {
  readonly files: ImageFiles;
  readonly opened: readonly { readonly path: string; readonly identity: string }[];
}

export type OpenOverlay = (file: ImageFile, path: string, chain: Chain) => Promise<BackingDisk>;

/** @returns undefined for an image that stands alone. @throws ImageError, HostError */
export async function openBacking(
  { backing }: Qcow2Header,
  chain: Chain,
  openQcow2: OpenOverlay,
): Promise<BackingDisk | undefined> {
  if (!backing) return undefined;
  const image = chain.opened.at(-1)!.path;
  const path = backingPath(backing.name, image);
  const format = backing.format;
  if (format !== 'raw' && format !== 'qcow2') {
    throw new ImageError(
      format === undefined
        ? `${image} does not say which format its backing file ${backing.name} has`
        : `${image}: a backing file of format ${format} is not supported`,
      { hint: `qemu-img rebase -u -b ${backing.name} -F raw|qcow2 ${image}` },
    );
  }
  if (chain.opened.length > MAX_DEPTH) throw new ImageError(`more than ${MAX_DEPTH} backing files in a row`);
  // Before opening: the file may be locked by the very image that is being opened.
  const identity = await chain.files.identify(path);
  if (chain.opened.some((above) => above.identity === identity)) {
    const names = [...chain.opened.map((above) => above.path), path];
    throw new ImageError(`backing files form a loop: ${names.join(' → ')}`);
  }
  const file = await chain.files.open(path, { readOnly: true });
  try {
    if (format === 'raw') return rawDisk(file);
    return await openQcow2(file, path, chain);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Relative to the image that names it. QEMU's protocol prefixes and inline JSON would reach beyond files: refused. */
export function backingPath(name: string, image: string): string {
  const protocol = /^[^/]*?:/.exec(name)?.[0];
  if (protocol !== undefined) {
    throw new ImageError(`a backing file must be a path: ${protocol} is not supported`, {
      hint: `qemu-img rebase -u -b PATH -F FORMAT ${image}; a path with a colon starts with ./`,
    });
  }
  return resolve(dirname(image), name);
}

/** Sectors count: a last one that is cut off is filled up with zeroes, as QEMU does. */
const rawDisk = (file: ImageFile): BackingDisk => ({
  size: Math.ceil(file.size / 512) * 512,
  readv: (offset, into) => file.readv(offset, into),
  close: () => file.close(),
});
