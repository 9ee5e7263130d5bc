/**
 * A qcow2 image as a disk: opens the chain, and passes requests on to what reads, writes and erases. QEMU
 * docs/interop/qcow2.txt, versions 2 and 3. Refused by name: encryption, external data files, extended L2 entries,
 * unknown incompatible features. Never written: images that are marked dirty or corrupt.
 * Runs on: main.
 */

import { lengthOf } from '../../base/pieces.js';
import type { BlockBackend } from '../../devices/blk/backend.js';
import { checkRange } from '../pieces.js';
import { type Chain, openBacking } from './backing.js';
import { ClusterMap } from './cluster-map.js';
import { CompressedClusters } from './compressed.js';
import { type BackingDisk, GuestReader } from './guest-reader.js';
import { firstClusterLength, HEADER_PROBE, parseHeader, type Qcow2Header } from './header.js';
import { hostImageFiles } from './host-image-file.js';
import { ImageError } from './image-error.js';
import type { ImageFile, ImageFiles } from './image-file.js';
import { L1Table } from './l1-table.js';
import { PageCache } from './page-cache.js';
import { WritableState } from './writable-state.js';

/** L2 pages in memory: 4 MiB map 32 GiB of 64 KiB clusters. */
const L2_PAGES = 1024;

export interface Qcow2Options {
  readonly readOnly?: boolean;
  /** Bypasses the host's page cache (O_DIRECT) for every file of the chain. */
  readonly direct?: boolean;
  /** Told of what its user should know: a size that had to be rounded. */
  readonly onNotice?: ((message: string) => void) | undefined;
  /** Where the files are, if not on the host. */
  readonly files?: ImageFiles;
}

export class Qcow2Image implements BlockBackend, BackingDisk {
  /** Bytes, rounded down to whole sectors: what the guest sees. */
  readonly size: number;
  readonly readOnly: boolean;
  readonly #file: ImageFile;
  readonly #backing: BackingDisk | undefined;
  readonly #reader: GuestReader;
  readonly #writable: WritableState | undefined;

  private constructor(
    file: ImageFile,
    readonly header: Qcow2Header,
    reader: GuestReader,
    writable: WritableState | undefined,
  ) {
    this.size = Math.floor(header.size / 512) * 512;
    this.readOnly = writable === undefined;
    this.#file = file;
    this.#backing = reader.backing;
    this.#reader = reader;
    this.#writable = writable;
  }

  /** @throws ImageError for what is wrong with the image or its chain; whatever `openFile` throws */
  static async open(path: string, options: Qcow2Options = {}): Promise<Qcow2Image> {
    const { readOnly = false, direct = false, onNotice, files = hostImageFiles({ direct }) } = options;
    const file = await files.open(path, { readOnly });
    try {
      const image = await Qcow2Image.#open(file, path, { files, opened: [] }, !readOnly);
      const over = image.header.size - image.size;
      if (over > 0) onNotice?.(`${path}: its last ${over} bytes are left out, a disk is a multiple of 512`);
      return image;
    } catch (error) {
      await file.close();
      if (!(error instanceof ImageError) || error.message.includes(path)) throw error;
      throw new ImageError(`${path}: ${error.message}`, { hint: error.hint, cause: error });
    }
  }

  static async #open(file: ImageFile, path: string, above: Chain, writable: boolean): Promise<Qcow2Image> {
    const probe = new Uint8Array(Math.min(HEADER_PROBE, file.size));
    await file.readv(0, [probe]);
    const first = new Uint8Array(firstClusterLength(probe, file.size));
    await file.readv(0, [first]);
    const header = parseHeader(first, file.size);
    if (writable) refuseWriting(header, path);
    const { clusterSize } = header;
    const l1 = await L1Table.load(file, header.l1Offset, header.l1Size, clusterSize);
    const compressed = await CompressedClusters.open(file, clusterSize, header.compression);
    const chain: Chain = {
      ...above,
      opened: [...above.opened, { path, identity: await above.files.identify(path) }],
    };
    const backing = await openBacking(header, chain, (below, name, passed) =>
      Qcow2Image.#open(below, name, passed, false),
    );
    try {
      if (writable) {
        const state = await WritableState.open({
          file,
          header,
          first,
          l1,
          compressed,
          backing,
          l2Pages: L2_PAGES,
        });
        return new Qcow2Image(file, header, state.reader, state);
      }
      const nothingDirty = async (): Promise<void> => {};
      const cache = new PageCache(file, clusterSize, L2_PAGES, nothingDirty);
      const map = new ClusterMap(file, header, l1, cache, undefined);
      return new Qcow2Image(file, header, new GuestReader(file, map, compressed, backing), undefined);
    } catch (error) {
      await backing?.close();
      throw error;
    }
  }

  read(offset: number, into: Uint8Array): void | Promise<void> {
    return this.readv(offset, [into]);
  }

  readv(offset: number, into: readonly Uint8Array[]): void | Promise<void> {
    checkRange(this.size, offset, lengthOf(into));
    const state = this.#writable;
    return state ? state.request(() => this.#reader.readv(offset, into)) : this.#reader.readv(offset, into);
  }

  write(offset: number, from: Uint8Array): void | Promise<void> {
    return this.writev(offset, [from]);
  }

  writev(offset: number, from: readonly Uint8Array[]): void | Promise<void> {
    const length = lengthOf(from);
    checkRange(this.size, offset, length);
    if (length === 0) return;
    return this.#forWriting().change((writer) => writer.writev(offset, from));
  }

  flush(): Promise<void> {
    return this.#writable?.flush() ?? Promise.resolve();
  }

  discard(offset: number, length: number): void | Promise<void> {
    checkRange(this.size, offset, length);
    return this.#forWriting().change((_, eraser) => eraser.discard(offset, length));
  }

  writeZeroes(offset: number, length: number, mayUnmap: boolean): void | Promise<void> {
    checkRange(this.size, offset, length);
    return this.#forWriting().change((_, eraser) => eraser.writeZeroes(offset, length, mayUnmap));
  }

  /** Makes everything durable and gives up the files. They are closed even when that fails. */
  async close(): Promise<void> {
    try {
      await this.#writable?.finish();
    } finally {
      await this.#file.close();
      await this.#backing?.close();
    }
  }

  #forWriting(): WritableState {
    if (!this.#writable) throw new ImageError('the image is open for reading only');
    return this.#writable;
  }
}

function refuseWriting({ dirty, corrupt }: Qcow2Header, path: string): void {
  if (corrupt) {
    throw new ImageError('the image is marked corrupt and may only be read', {
      hint: `qemu-img check ${path}, or open it for reading only`,
    });
  }
  if (dirty) {
    throw new ImageError('the image was not closed cleanly: its reference counts may be wrong', {
      hint: `qemu-img check -r all ${path}, or open it for reading only`,
    });
  }
}
