/**
 * A disk as the embedder gave it becomes a back end.
 * Runs on: main.
 */
import { promises } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CheckedDisk } from '../backends/checked-disk.js';
import { FileDisk } from '../backends/file-disk.js';
import { MemoryDisk } from '../backends/memory-disk.js';
import { OverlayDisk } from '../backends/overlay-disk.js';
import { ConfigError } from '../base/errors.js';
import type { ResolvedConfig } from '../config/schema.js';
import type { BlockBackend } from '../devices/blk/backend.js';

export type DiskConfig = ResolvedConfig['disks'][number];

/**
 * @param path of the option, for messages
 * @param onNotice told, in a sentence, what the user should know
 * @throws ConfigError, VmmError ERR_FILE, HostError; nothing stays open then
 */
export async function openDisk(
  options: DiskConfig,
  path: string,
  onNotice: (notice: string) => void,
): Promise<BlockBackend> {
  const { overlay, readOnly } = options;
  if (overlay === undefined) return openSource(options, readOnly, path, onNotice);
  // Nobody writes to a base, so machines may share one.
  const base = await openSource(options, true, path, onNotice);
  try {
    return new OverlayDisk(base, { top: await openTop(overlay, base.size) });
  } catch (error) {
    await base.close?.();
    throw error;
  }
}

async function openSource(
  { source, direct, format }: DiskConfig,
  readOnly: boolean,
  path: string,
  onNotice: (notice: string) => void,
): Promise<BlockBackend> {
  if (source instanceof Uint8Array) {
    if (source.length < 512)
      throw new ConfigError([{ path, message: 'is smaller than a sector of 512 bytes' }]);
    return new MemoryDisk(source, { readOnly });
  }
  if (typeof source === 'object' && 'read' in source) return new CheckedDisk(source, path);
  const file = source instanceof URL ? fileURLToPath(source) : source;
  const options = { readOnly, direct, onNotice };
  if ((format ?? formatByName(file)) === 'raw') return FileDisk.open(file, options);
  const { Qcow2Image } = await import('../backends/qcow2/image.js');
  return Qcow2Image.open(file, options);
}

/**
 * The format is what the user says, or what the name says; never what the content says: a guest that writes the head of
 * another format into its disk must not change what it is at the next start.
 */
const formatByName = (file: string): 'raw' | 'qcow2' => (file.endsWith('.qcow2') ? 'qcow2' : 'raw');

/**
 * `memory`, or the path of a file that must not exist yet: it has no name any more once it is open, so it is gone when the
 * disk is closed, however this process ends.
 */
async function openTop(overlay: string, size: number): Promise<BlockBackend> {
  if (overlay === 'memory') return new MemoryDisk(size);
  const top = await FileDisk.open(overlay, { create: 'new', minimumSize: size });
  await promises.unlink(overlay);
  return top;
}
