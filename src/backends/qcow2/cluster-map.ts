/**
 * The map from guest clusters to what holds them: L1 in memory, L2 through a page cache. Reads need nothing else; changes
 * go through `change`, which first makes the L2 table the active state's own (a copy, when a snapshot shares it).
 *
 * The rule of page-cache.ts holds: what `peek` returned is true until the next `await`, and longer only under a lock.
 * Runs on: main.
 */
import { hex } from '../../base/units.js';
import type { Allocator } from './allocator.js';
import type { FreedClusters } from './freed-clusters.js';
import type { Qcow2Header } from './header.js';
import { ImageError } from './image-error.js';
import type { ImageFile } from './image-file.js';
import type { L1Table } from './l1-table.js';
import { decodeL2Entry, encodeL2Entry, type Mapping, UNALLOCATED } from './l2-entry.js';
import type { MetadataClusters } from './metadata-clusters.js';
import type { PageCache } from './page-cache.js';

/** What changing the map needs; an image that is only read has none of it. */
export interface MapChanges {
  readonly allocator: Allocator;
  readonly metadata: MetadataClusters;
  readonly freed: FreedClusters;
}

export class ClusterMap {
  readonly clusterSize: number;
  readonly #perTable: number;
  readonly #bits: number;
  readonly #version: 2 | 3;
  /** L1 index → the making of its own L2 table. */
  readonly #making = new Map<number, Promise<void>>();

  constructor(
    readonly file: ImageFile,
    header: Qcow2Header,
    readonly l1: L1Table,
    readonly cache: PageCache,
    readonly changes: MapChanges | undefined,
  ) {
    this.clusterSize = header.clusterSize;
    this.#bits = header.clusterBits;
    this.#version = header.version;
    this.#perTable = header.clusterSize / 8;
  }

  /** @returns undefined when the page must be loaded first. @throws ImageError for an entry that cannot be true */
  peek(cluster: number): Mapping | undefined {
    const at = this.#entryOffset(cluster);
    if (at === undefined) return UNALLOCATED;
    const page = this.cache.peek(at);
    if (!page) return undefined;
    const index = at - page.offset;
    return this.#checked(page.view.getUint32(index), page.view.getUint32(index + 4));
  }

  async load(cluster: number): Promise<void> {
    const at = this.#entryOffset(cluster);
    if (at !== undefined) await this.cache.load(at);
  }

  async get(cluster: number): Promise<Mapping> {
    for (let mapping = this.peek(cluster); ; mapping = this.peek(cluster)) {
      if (mapping) return mapping;
      await this.load(cluster);
    }
  }

  /** Clusters from `cluster` on whose L2 entries share its table, which does not exist: nothing to look at there. */
  emptySpan(cluster: number): number {
    const { offset } = this.l1.get(Math.floor(cluster / this.#perTable));
    return offset === 0 ? this.#perTable - (cluster % this.#perTable) : 0;
  }

  /**
   * Replaces an entry; what it named before, and the new entry does not, is given back. The caller holds the cluster's
   * lock. @param decide is given the entry as it is now; undefined leaves it
   */
  async change(cluster: number, decide: (now: Mapping) => Mapping | undefined): Promise<void> {
    const { freed } = this.#changes();
    for (;;) {
      await this.#ownTable(cluster);
      const at = this.#entryOffset(cluster)!;
      const page = this.cache.peek(at);
      if (page) {
        const index = at - page.offset;
        const now = this.#checked(page.view.getUint32(index), page.view.getUint32(index + 4));
        const next = decide(now);
        if (!next) return;
        if (now.offset !== next.offset) freed.addMapping(now); // may refuse: before anything changes
        const [high, low] = encodeL2Entry(next);
        page.view.setUint32(index, high);
        page.view.setUint32(index + 4, low);
        this.cache.markDirty(page);
        return;
      }
      await this.cache.load(at);
    }
  }

  #changes(): MapChanges {
    if (!this.changes) throw new ImageError('the image is open for reading only');
    return this.changes;
  }

  /** Host offset of a guest cluster's L2 entry; undefined without a table. */
  #entryOffset(cluster: number): number | undefined {
    const index = Math.floor(cluster / this.#perTable);
    const { offset } = this.l1.get(index);
    if (offset === 0) return undefined;
    if (offset >= this.file.size)
      throw new ImageError(`L2 table ${index} lies outside the file: ${hex(offset)}`);
    return offset + (cluster % this.#perTable) * 8;
  }

  #checked(high: number, low: number): Mapping {
    const mapping = decodeL2Entry(high, low, this.#bits, this.#version);
    if (mapping.offset !== 0 && mapping.offset >= this.file.size) {
      throw new ImageError(`a cluster lies outside the file: ${hex(mapping.offset)}`);
    }
    return mapping;
  }

  /** Settles when the L2 table of a cluster exists and no snapshot shares it. */
  async #ownTable(cluster: number): Promise<void> {
    const index = Math.floor(cluster / this.#perTable);
    if (this.l1.get(index).copied) return;
    let making = this.#making.get(index);
    if (!making) {
      making = this.#makeTable(index).finally(() => this.#making.delete(index));
      this.#making.set(index, making);
    }
    await making;
  }

  /** The new table is in the file before L1 names it, in memory and so on disk. */
  async #makeTable(index: number): Promise<void> {
    const { allocator, metadata, freed } = this.#changes();
    const { offset: old } = this.l1.get(index);
    const content = new Uint8Array(this.clusterSize);
    if (old !== 0) {
      if (old >= this.file.size) throw new ImageError(`L2 table ${index} lies outside the file: ${hex(old)}`);
      await this.file.readv(old, [content]);
    }
    const { first } = await allocator.allocate(1);
    const offset = first * this.clusterSize;
    try {
      await this.file.writev(offset, [content]);
    } catch (error) {
      await allocator.giveBack(first, 1);
      throw error;
    }
    this.cache.drop(offset, this.clusterSize);
    metadata.add(first, 1);
    this.l1.set(index, offset);
    if (old !== 0) freed.addTable(old / this.clusterSize);
  }
}
