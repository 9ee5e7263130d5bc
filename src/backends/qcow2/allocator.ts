/**
 * Finds free host clusters and takes them, one caller at a time: first fit from a hint, contiguous where possible. A range
 * without a refcount block gets one, in the first cluster of the very range it counts; a full refcount table grows
 * (refcount-growth.ts). Counts only rise in memory here: they are durable before anything names the cluster
 * (write-out.ts), so a crash leaks clusters and never shares them.
 * Runs on: main.
 */
import { hex } from '../../base/units.js';
import { ImageError } from './image-error.js';
import type { ImageFile } from './image-file.js';
import type { MetadataClusters } from './metadata-clusters.js';
import { breathe, Serial } from './order.js';
import { readRefcount, writeRefcount } from './refcount-width.js';
import type { Refcounts } from './refcounts.js';

/** Consecutive host clusters that now belong to the caller. */
export interface HostRun {
  readonly first: number;
  readonly count: number;
  /** Nothing was ever stored there: bytes that are not written read as zeroes. */
  readonly fresh: boolean;
}

/** L2 entries hold 56 bits of offset, but a file offset must be a safe integer. */
const MAX_HOST_OFFSET = 2 ** 53;
/** Pages scanned before other events get a turn: at most 2^15 counts each. */
const PAGES_PER_TURN = 8;

export class Allocator {
  readonly #serial = new Serial();
  /** Every cluster below it was seen in use. */
  #hint = 0;
  /** First cluster behind everything that was ever in the file. */
  #end: number;

  constructor(
    readonly file: ImageFile,
    readonly refcounts: Refcounts,
    readonly metadata: MetadataClusters,
    readonly clusterSize: number,
    /** Makes the refcount table larger; may add blocks. */
    readonly growTable: () => Promise<void>,
  ) {
    this.#end = Math.ceil(file.size / clusterSize);
  }

  /** Takes 1 … `most` consecutive clusters. */
  allocate(most: number): Promise<HostRun> {
    return this.#serial.run(() => this.#allocate(most));
  }

  /** Takes back what was allocated and never named by anything. */
  async giveBack(first: number, count: number): Promise<void> {
    for (let cluster = first; cluster < first + count; cluster += 1) await this.refcounts.lower(cluster);
    this.lowerHint(first);
  }

  /** A count below `cluster` may be zero now. */
  lowerHint(cluster: number): void {
    this.#hint = Math.min(this.#hint, cluster);
  }

  /** Something was stored up to here without the allocator. */
  raiseEnd(cluster: number): void {
    this.#end = Math.max(this.#end, cluster);
  }

  async #allocate(most: number): Promise<HostRun> {
    const { refcounts } = this;
    for (let pages = 0; ; pages += 1) {
      const cluster = this.#hint;
      const block = Math.floor(cluster / refcounts.perBlock);
      if (block >= refcounts.capacity) await this.growTable();
      else if (refcounts.blockOffset(block) === 0) await this.#addBlock(block);
      else {
        const page = refcounts.peekPage(cluster);
        if (!page) await refcounts.load(cluster);
        else {
          const run = this.#scan(page, cluster, most);
          if (run) return run;
          if (pages % PAGES_PER_TURN === PAGES_PER_TURN - 1) await breathe();
        }
      }
    }
  }

  /** Looks through the rest of one page; without success the hint is behind it. */
  #scan(page: DataView, from: number, most: number): HostRun | undefined {
    const { order, perPage } = this.refcounts;
    const base = from - (from % perPage);
    let index = from - base;
    while (index < perPage && readRefcount(page, order, index) !== 0) index += 1;
    const first = base + index;
    this.#hint = first;
    if (index === perPage) return undefined;
    let count = 1;
    while (count < most && index + count < perPage && readRefcount(page, order, index + count) === 0)
      count += 1;
    if ((first + count) * this.clusterSize > MAX_HOST_OFFSET) throw new ImageError('the image file is full');
    this.metadata.refuse(first, count, 'a cluster with a reference count of 0');
    for (let at = first; at < first + count; at += 1) this.refcounts.set(at, 1);
    this.#hint = first + count;
    const fresh = first >= this.#end;
    this.raiseEnd(first + count);
    return { first, count, fresh };
  }

  async #addBlock(index: number): Promise<void> {
    const { refcounts, clusterSize } = this;
    const first = index * refcounts.perBlock;
    const offset = first * clusterSize;
    if (offset > MAX_HOST_OFFSET) throw new ImageError(`the image file is full: ${hex(offset)}`);
    this.metadata.refuse(first, 1, 'a free cluster');
    const bytes = new Uint8Array(clusterSize);
    writeRefcount(new DataView(bytes.buffer), refcounts.order, 0, 1); // its own count
    await this.file.writev(offset, [bytes]);
    refcounts.cache.drop(offset, clusterSize);
    refcounts.addBlock(index, offset);
    this.metadata.add(first, 1);
    this.raiseEnd(first + 1);
  }
}
