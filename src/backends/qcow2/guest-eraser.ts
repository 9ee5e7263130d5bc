/**
 * Discard and write-zeroes. Whole clusters change their L2 entry and give their storage back; parts of clusters are
 * written with zeroes, or, for a discard, left alone. What would show the backing file becomes a zero cluster; version 2
 * has none, so there zeroes are written and such a discard does nothing.
 * Runs on: main.
 */
import type { RangeLock } from '../../base/range-lock.js';
import { KiB } from '../../base/units.js';
import type { ClusterMap } from './cluster-map.js';
import type { GuestReader } from './guest-reader.js';
import type { GuestWriter } from './guest-writer.js';
import { type Mapping, UNALLOCATED, ZERO } from './l2-entry.js';
import { breathe } from './order.js';

/** Clusters looked at before other events get a turn. */
const PER_TURN = 256;
const ZEROES = new Uint8Array(64 * KiB);

export class GuestEraser {
  readonly #clusterSize: number;

  constructor(
    readonly map: ClusterMap,
    readonly reader: GuestReader,
    readonly writer: GuestWriter,
    /** Ranges of guest clusters. */
    readonly locks: RangeLock,
    readonly version: 2 | 3,
    /** Bytes of the virtual disk. */
    readonly size: number,
    /** Called now and then: writes out when too many clusters wait to be free. */
    readonly relieve: () => Promise<void>,
  ) {
    this.#clusterSize = map.clusterSize;
  }

  discard(offset: number, length: number): Promise<void> {
    const first = Math.ceil(offset / this.#clusterSize);
    return this.#eachCluster(first, this.#wholeEnd(offset + length), async (cluster) => {
      await this.#change(cluster, (now) => this.#discarded(cluster, now));
    });
  }

  async writeZeroes(offset: number, length: number, mayUnmap: boolean): Promise<void> {
    const end = offset + length;
    const first = Math.ceil(offset / this.#clusterSize);
    const last = Math.max(first, this.#wholeEnd(end));
    const headEnd = Math.min(end, first * this.#clusterSize);
    if (headEnd > offset) await this.#writePart(offset, headEnd);
    await this.#eachCluster(first, last, (cluster) => this.#zeroCluster(cluster, mayUnmap));
    const tail = Math.max(last * this.#clusterSize, headEnd);
    if (tail < end) await this.#writePart(tail, end);
  }

  /** First cluster that the range does not cover to its end; the disk's last cluster may be a short one. */
  #wholeEnd(end: number): number {
    return end >= this.size ? Math.ceil(this.size / this.#clusterSize) : Math.floor(end / this.#clusterSize);
  }

  /** Visits clusters that are not plainly without contents. */
  async #eachCluster(first: number, end: number, visit: (cluster: number) => Promise<void>): Promise<void> {
    let visited = 0;
    for (let cluster = first; cluster < end; ) {
      visited += 1;
      if (visited % PER_TURN === 0) {
        await this.relieve();
        await breathe();
      }
      const empty = this.#showsBacking(cluster) ? 0 : this.map.emptySpan(cluster);
      if (empty > 0) cluster += empty;
      else {
        const mapping = await this.map.get(cluster);
        if (mapping.kind !== 'unallocated' || this.#showsBacking(cluster)) await visit(cluster);
        cluster += 1;
      }
    }
  }

  #showsBacking(cluster: number): boolean {
    return !this.reader.isZero(cluster, UNALLOCATED);
  }

  /** What a cluster becomes when its storage goes; undefined when it must stay as it is. */
  #discarded(cluster: number, now: Mapping): Mapping | undefined {
    if (now.kind === 'unallocated' || (now.kind === 'zero' && now.offset === 0)) return undefined;
    if (!this.#showsBacking(cluster)) return UNALLOCATED;
    return this.version === 2 ? undefined : ZERO;
  }

  #zeroed(cluster: number, now: Mapping, mayUnmap: boolean): Mapping | undefined {
    if (mayUnmap && now.kind !== 'unallocated') return this.#discarded(cluster, now);
    if (this.reader.isZero(cluster, now)) return undefined;
    const keeps = now.kind === 'data' && now.copied && !mayUnmap;
    return keeps ? { ...now, kind: 'zero' } : ZERO;
  }

  async #zeroCluster(cluster: number, mayUnmap: boolean): Promise<void> {
    if (this.version === 2) {
      const mapping = await this.map.get(cluster);
      if (this.reader.isZero(cluster, mapping)) return;
      if (!mayUnmap || this.#showsBacking(cluster)) {
        const start = cluster * this.#clusterSize;
        return this.#writePart(start, Math.min(start + this.#clusterSize, this.size));
      }
    }
    await this.#change(cluster, (now) => this.#zeroed(cluster, now, mayUnmap));
  }

  #change(cluster: number, decide: (now: Mapping) => Mapping | undefined): void | Promise<void> {
    return this.locks.hold(cluster, cluster + 1, true, async () => {
      // Without a change there must be no new L2 table either, which `change` would make first.
      if (decide(await this.map.get(cluster))) await this.map.change(cluster, decide);
    });
  }

  /** Zeroes in a part of one cluster, unless it reads as zeroes. */
  async #writePart(from: number, to: number): Promise<void> {
    const cluster = Math.floor(from / this.#clusterSize);
    if (this.reader.isZero(cluster, await this.map.get(cluster))) return;
    const pieces: Uint8Array[] = [];
    for (let left = to - from; left > 0; left -= ZEROES.length) pieces.push(ZEROES.subarray(0, left));
    await this.writer.writev(from, pieces);
  }
}
