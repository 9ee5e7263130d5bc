/**
 * Host clusters that hold the image's own structures. Nothing the guest writes may land there: the header names backing
 * files, so a guest that could write it could read any file of the host the next time the image is opened. A damaged or
 * crafted L2 entry would otherwise be enough.
 */
import { hex } from '../../base/units.js';
import { ImageError } from './image-error.js';

export class MetadataClusters {
  /** Known at opening: sorted, 8 bytes each; an L1 table may name four million L2 tables. */
  readonly #initial: Float64Array;
  readonly #added = new Set<number>();
  readonly #removed = new Set<number>();

  /** @param clusters host cluster numbers in any order */
  constructor(
    clusters: Float64Array,
    readonly clusterSize: number,
  ) {
    this.#initial = clusters.sort();
  }

  /** The first host cluster that is named twice, if any: two structures in one place. */
  duplicate(): number | undefined {
    const index = this.#initial.findIndex((cluster, at) => at > 0 && cluster === this.#initial[at - 1]);
    return index < 0 ? undefined : this.#initial[index];
  }

  add(first: number, count: number): void {
    for (let cluster = first; cluster < first + count; cluster += 1) {
      this.#removed.delete(cluster);
      this.#added.add(cluster);
    }
  }

  delete(first: number, count: number): void {
    for (let cluster = first; cluster < first + count; cluster += 1) {
      this.#added.delete(cluster);
      this.#removed.add(cluster);
    }
  }

  has(cluster: number): boolean {
    return this.#added.has(cluster) || (this.#isInitial(cluster) && !this.#removed.has(cluster));
  }

  /** @throws ImageError when one of the clusters is the image's own */
  refuse(first: number, count: number, what: string): void {
    for (let cluster = first; cluster < first + count; cluster += 1) {
      if (!this.has(cluster)) continue;
      throw new ImageError(
        `${what} at ${hex(cluster * this.clusterSize)} overlaps the image's own structures`,
      );
    }
  }

  #isInitial(cluster: number): boolean {
    let [low, high] = [0, this.#initial.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#initial[middle]! < cluster) low = middle + 1;
      else high = middle;
    }
    return this.#initial[low] === cluster;
  }
}
