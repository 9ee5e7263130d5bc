/**
 * Reference counts of host clusters: the table, in memory, and its blocks, through a page cache. QEMU
 * docs/interop/qcow2.txt "Host cluster management". Who allocates is allocator.ts; when blocks reach the disk is
 * write-out.ts.
 */
import { hex } from '../../base/units.js';
import type { Qcow2Header } from './header.js';
import { ImageError } from './image-error.js';
import type { ImageFile } from './image-file.js';
import type { PageCache } from './page-cache.js';
import { maxRefcount, readRefcount, writeRefcount } from './refcount-width.js';

/** Table entries in the 512 bytes that a disk writes as one. */
const PER_SECTOR = 64;

export class Refcounts {
  /** Blocks that exist but that the table on disk does not name yet. */
  readonly unlinked = new Set<number>();
  /** Clusters that one block counts. */
  readonly perBlock: number;
  /** Clusters that one page of a block counts. */
  readonly perPage: number;
  readonly order: number;
  readonly #clusterSize: number;
  #table: Float64Array;
  #offset: number;

  private constructor(
    header: Qcow2Header,
    table: Float64Array,
    readonly cache: PageCache,
  ) {
    this.order = header.refcountOrder;
    this.perBlock = (header.clusterSize * 8) / 2 ** this.order;
    this.perPage = (cache.pageSize * 8) / 2 ** this.order;
    this.#clusterSize = header.clusterSize;
    this.#table = table;
    this.#offset = header.refcountTableOffset;
  }

  /** @throws ImageError when an entry cannot be true; the image may then be read, not written */
  static async load(file: ImageFile, header: Qcow2Header, cache: PageCache): Promise<Refcounts> {
    const bytes = new Uint8Array(header.refcountTableClusters * header.clusterSize);
    await file.readv(header.refcountTableOffset, [bytes]);
    const view = new DataView(bytes.buffer);
    const table = new Float64Array(bytes.length / 8);
    for (let index = 0; index < table.length; index += 1) {
      const offset = view.getUint32(index * 8) * 2 ** 32 + view.getUint32(index * 8 + 4);
      if (offset % header.clusterSize !== 0 || (offset !== 0 && offset >= file.size)) {
        throw new ImageError(`refcount block ${index} cannot lie at ${hex(offset)}`);
      }
      table[index] = offset;
    }
    return new Refcounts(header, table, cache);
  }

  /** Blocks that the table has room for. */
  get capacity(): number {
    return this.#table.length;
  }

  /** Host bytes of the table. */
  get tableRange(): { readonly offset: number; readonly length: number } {
    return { offset: this.#offset, length: this.#table.length * 8 };
  }

  /** Host offset of a block, 0 when there is none: all of its clusters are free. */
  blockOffset(index: number): number {
    return this.#table[index] ?? 0;
  }

  /** Host offsets of all blocks. */
  blocks(): number[] {
    return [...this.#table].filter((offset) => offset !== 0);
  }

  /** A new, written block takes its place; the table on disk names it at the next write-out. */
  addBlock(index: number, offset: number): void {
    this.#table[index] = offset;
    this.unlinked.add(index);
  }

  /** A larger table, already durable, replaces the old one. */
  replaceTable(table: Float64Array, offset: number): void {
    this.#table = table;
    this.#offset = offset;
    this.unlinked.clear();
  }

  copyTable(entries: number): Float64Array {
    const copy = new Float64Array(entries);
    copy.set(this.#table);
    return copy;
  }

  /** @returns undefined when the page must be loaded first */
  peek(cluster: number): number | undefined {
    const at = this.#locate(cluster);
    if (at === undefined) return 0;
    const page = this.cache.peek(at);
    return page && readRefcount(page.view, this.order, cluster % this.perPage);
  }

  async load(cluster: number): Promise<void> {
    const at = this.#locate(cluster);
    if (at !== undefined) await this.cache.load(at);
  }

  /** The page that counts `cluster`, for scanning. Undefined when it must be loaded or its block does not exist. */
  peekPage(cluster: number): DataView | undefined {
    const at = this.#locate(cluster);
    return at === undefined ? undefined : this.cache.peek(at)?.view;
  }

  /** Sets a count whose page is in memory. */
  set(cluster: number, count: number): void {
    const at = this.#locate(cluster);
    const page = at === undefined ? undefined : this.cache.peek(at);
    if (!page || count < 0 || count > maxRefcount(this.order)) {
      throw new Error(`refcount ${count} for cluster ${cluster}: page ${page ? 'loaded' : 'missing'}`);
    }
    writeRefcount(page.view, this.order, cluster % this.perPage, count);
    this.cache.markDirty(page);
  }

  /** Lowers a count by one, loading what is needed. @throws ImageError when it is zero already */
  async lower(cluster: number): Promise<void> {
    for (let count = this.peek(cluster); ; count = this.peek(cluster)) {
      if (count === undefined) await this.load(cluster);
      else if (count === 0) {
        throw new ImageError(
          `cluster ${hex(cluster * this.#clusterSize)} was in use with a reference count of 0`,
        );
      } else return this.set(cluster, count - 1);
    }
  }

  /** Table entries for the disk, in whole 512-byte sectors: `linked`, and none that is still unlinked besides. */
  tableSectors(linked: ReadonlySet<number>): { readonly offset: number; readonly bytes: Uint8Array }[] {
    const sectors = new Set([...linked].map((index) => index - (index % PER_SECTOR)));
    return [...sectors].map((first) => {
      const entries = this.#table.slice(first, first + PER_SECTOR);
      for (const index of this.unlinked) {
        if (index >= first && index < first + PER_SECTOR && !linked.has(index)) entries[index - first] = 0;
      }
      return { offset: this.#offset + first * 8, bytes: encodeTable(entries) };
    });
  }

  /** Host offset of the byte of a block where the count is; undefined without a block. */
  #locate(cluster: number): number | undefined {
    const block = this.blockOffset(Math.floor(cluster / this.perBlock));
    if (block === 0) return undefined;
    return block + Math.floor(((cluster % this.perBlock) * 2 ** this.order) / 8);
  }
}

/** A refcount table as it lies on disk. */
export function encodeTable(table: Float64Array): Uint8Array {
  const bytes = new Uint8Array(table.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, offset] of table.entries()) {
    view.setUint32(index * 8, Math.floor(offset / 2 ** 32));
    view.setUint32(index * 8 + 4, offset % 2 ** 32);
  }
  return bytes;
}
