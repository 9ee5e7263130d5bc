/**
 * The guests' userland: Debian's statically linked busybox, taken out of its package, not from this machine.
 * Runs on: main.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FetchOptions, fetchNewest, unpackPackage } from './debian-fetch.js';
import { RecipeError } from './recipe-error.js';

export interface Busybox {
  readonly binary: Buffer;
  readonly version: string;
  /** Of the package. */
  readonly sha256: string;
}

/** @throws RecipeError if the archive cannot be reached and the cache has no copy */
export async function fetchBusybox(options: FetchOptions = {}): Promise<Busybox> {
  const deb = await fetchNewest('busybox-static', options);
  const folder = mkdtempSync(join(tmpdir(), 'typevisor-busybox-'));
  try {
    await unpackPackage(deb.path, folder, options);
    for (const path of ['bin/busybox', 'usr/bin/busybox']) {
      try {
        return { binary: readFileSync(join(folder, path)), version: deb.version, sha256: deb.sha256 };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
    throw new RecipeError(`busybox-static ${deb.version} has no busybox where it used to be`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
