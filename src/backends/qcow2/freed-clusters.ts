/**
 * Host clusters that the map in memory no longer names. Their counts may fall only when the map on disk does not name them
 * either (after a write-out) and no request that looked the map up before still uses them; only then are they punched out
 * of the file and free to be taken again.
 * Runs on: main.
 */
import type { Allocator } from './allocator.js';
import type { ImageFile } from './image-file.js';
import type { Mapping } from './l2-entry.js';
import type { MetadataClusters } from './metadata-clusters.js';
import { breathe, type Generations, Serial } from './order.js';
import type { Refcounts } from './refcounts.js';

/** Each of the clusters loses one reference. */
export interface FreedRun {
  readonly first: number;
  count: number;
}

/** Clusters handled before other events get a turn. */
const PER_TURN = 256;

export class FreedClusters {
  #runs: FreedRun[] = [];
  #canPunch = true;
  readonly #serial = new Serial();

  constructor(
    readonly file: ImageFile,
    readonly refcounts: Refcounts,
    readonly allocator: Allocator,
    readonly metadata: MetadataClusters,
    readonly generations: Generations,
    readonly clusterSize: number,
  ) {}

  /** Runs that wait for a write-out; its owner bounds them. */
  get waiting(): number {
    return this.#runs.length;
  }

  /** What an L2 entry named. @throws ImageError when that is one of the image's own structures */
  addMapping({ kind, offset, length }: Mapping): void {
    if (offset === 0) return;
    const first = Math.floor(offset / this.clusterSize);
    const last = kind === 'compressed' ? Math.floor((offset + length - 1) / this.clusterSize) : first;
    this.metadata.refuse(first, last - first + 1, 'a cluster of the guest');
    this.#add(first, last - first + 1);
  }

  /** An L2 table that the active state no longer uses; it may still be a snapshot's. */
  addTable(cluster: number): void {
    this.metadata.delete(cluster, 1);
    this.#add(cluster, 1);
  }

  /** Clusters of a structure that was replaced. */
  addStructure(first: number, count: number): void {
    this.metadata.delete(first, count);
    this.#add(first, count);
  }

  /** Everything that waits; it waits no more. */
  take(): FreedRun[] {
    const taken = this.#runs;
    this.#runs = [];
    return taken;
  }

  /** After a write-out that failed. */
  restore(taken: readonly FreedRun[]): void {
    this.#runs = [...taken, ...this.#runs];
  }

  /** Lowers the counts of what a write-out covered, when no request uses it any more. */
  release(runs: readonly FreedRun[]): Promise<void> {
    if (runs.length === 0) return Promise.resolve();
    const passed = this.generations.passed();
    return this.#serial.run(async () => {
      await passed;
      for (const { first, count } of runs) {
        for (let done = 0; done < count; done += PER_TURN) {
          await this.#release(first + done, Math.min(PER_TURN, count - done));
          await breathe();
        }
      }
    });
  }

  #add(first: number, count: number): void {
    const last = this.#runs.at(-1);
    if (last && last.first + last.count === first) last.count += count;
    else this.#runs.push({ first, count });
  }

  /** Punches before it lowers: afterwards the clusters may be somebody else's at once. */
  async #release(first: number, count: number): Promise<void> {
    for (let start = first; start < first + count; ) {
      let end = start;
      while (end < first + count && (await this.#countOf(end)) === 1) end += 1;
      if (end > start) {
        await this.#punch(start, end - start);
        for (let cluster = start; cluster < end; cluster += 1) await this.refcounts.lower(cluster);
        this.allocator.lowerHint(start);
        start = end;
      } else {
        await this.refcounts.lower(start);
        start += 1;
      }
    }
  }

  async #punch(first: number, count: number): Promise<void> {
    if (!this.#canPunch) return;
    try {
      await this.file.punch?.(first * this.clusterSize, count * this.clusterSize);
    } catch {
      // Not on this file system, or not now: the clusters stay stored, and are free all the same.
      this.#canPunch = false;
    }
  }

  async #countOf(cluster: number): Promise<number> {
    for (let count = this.refcounts.peek(cluster); ; count = this.refcounts.peek(cluster)) {
      if (count !== undefined) return count;
      await this.refcounts.load(cluster);
    }
  }
}
