/**
 * Writes of the guest. A cluster that belongs to the active state alone is overwritten in place, without a lock. Any other
 * is written whole to a new host cluster (what the request leaves out is copied from whatever the guest saw there), and
 * only then named by the map: until that instant a crash or a failure leaves the old contents.
 * Runs on: main.
 */
import { lengthOf, type Pieces } from '../../base/pieces.js';
import type { RangeLock } from '../../base/range-lock.js';
import type { HostRun } from './allocator.js';
import { BufferCursor } from './buffer-cursor.js';
import type { ClusterMap, MapChanges } from './cluster-map.js';
import { type RunServer, runEnd, serveRuns } from './cluster-walk.js';
import type { GuestReader } from './guest-reader.js';
import type { ImageFile } from './image-file.js';
import type { Mapping } from './l2-entry.js';
import { Parts } from './order.js';

/** Clusters allocated under one lock: bounds what one request holds. */
const MOST_AT_ONCE = 64;

const isOwn = ({ kind, copied }: Mapping): boolean => kind === 'data' && copied;
/** A zero cluster with storage of its own: written there, no allocation. */
const isReserved = ({ kind, copied, offset }: Mapping): boolean => kind === 'zero' && copied && offset !== 0;

export class GuestWriter implements RunServer {
  readonly #clusterSize: number;

  constructor(
    readonly file: ImageFile,
    readonly map: ClusterMap,
    readonly reader: GuestReader,
    readonly changes: MapChanges,
    /** Ranges of guest clusters. */
    readonly locks: RangeLock,
    /** Bytes of the virtual disk. */
    readonly size: number,
  ) {
    this.#clusterSize = map.clusterSize;
  }

  writev(offset: number, from: Pieces): void | Promise<void> {
    const end = offset + lengthOf(from);
    const cluster = Math.floor(offset / this.#clusterSize);
    const mapping = this.map.peek(cluster);
    if (mapping && isOwn(mapping) && end <= this.spanOf(cluster, mapping, end)) {
      return this.#overwrite(mapping, offset, from);
    }
    return serveRuns(this.map, offset, from, this);
  }

  /** Clusters that can be overwritten in one piece, or that need a new place. */
  spanOf(cluster: number, mapping: Mapping, end: number): number {
    if (!isOwn(mapping)) return runEnd(this.map, cluster, end, (other) => !isOwn(other), MOST_AT_ONCE);
    return runEnd(
      this.map,
      cluster,
      end,
      (other, distance) => isOwn(other) && other.offset === mapping.offset + distance * this.#clusterSize,
    );
  }

  serve(mapping: Mapping, at: number, from: Pieces): void | Promise<void> {
    return isOwn(mapping) ? this.#overwrite(mapping, at, from) : this.#writeNew(at, from);
  }

  #overwrite(mapping: Mapping, at: number, from: Pieces): void | Promise<void> {
    const within = at % this.#clusterSize;
    const clusters = Math.ceil((within + lengthOf(from)) / this.#clusterSize);
    this.changes.metadata.refuse(mapping.offset / this.#clusterSize, clusters, 'a cluster of the guest');
    return this.file.writev(mapping.offset + within, from);
  }

  async #writeNew(offset: number, from: Pieces): Promise<void> {
    const end = offset + lengthOf(from);
    const first = Math.floor(offset / this.#clusterSize);
    const last = Math.ceil(end / this.#clusterSize);
    const inPlace = new Parts();
    try {
      await this.locks.hold(first, last, true, () => this.#writeLocked(offset, end, from, inPlace));
    } finally {
      await inPlace.settle();
    }
  }

  /** @param inPlace takes what needs no lock: small writes to one new cluster wait for its allocation, not for each other */
  async #writeLocked(offset: number, end: number, from: Pieces, inPlace: Parts): Promise<void> {
    const cursor = new BufferCursor(from);
    for (let at = offset; at < end; ) {
      const cluster = Math.floor(at / this.#clusterSize);
      const mapping = await this.map.get(cluster);
      if (isOwn(mapping)) {
        // Somebody else allocated it while this request waited for the lock.
        const next = Math.min(end, (cluster + 1) * this.#clusterSize);
        inPlace.add(this.#overwrite(mapping, at, cursor.take(next - at)));
        at = next;
      } else at = await this.#writeRun(cluster, mapping, at, end, cursor);
    }
  }

  /** Writes and names as many clusters as one run of host clusters holds. @returns where to go on */
  async #writeRun(
    cluster: number,
    mapping: Mapping,
    at: number,
    end: number,
    cursor: BufferCursor,
  ): Promise<number> {
    const { allocator, metadata } = this.changes;
    const reserved = isReserved(mapping);
    let run: HostRun;
    if (reserved) {
      run = { first: mapping.offset / this.#clusterSize, count: 1, fresh: false };
      metadata.refuse(run.first, 1, 'a cluster of the guest');
    } else run = await allocator.allocate(await this.#countNew(cluster, end));
    const next = Math.min(end, (cluster + run.count) * this.#clusterSize);
    let named = 0;
    try {
      await this.#writeWhole(run, cluster, at, cursor.take(next - at), next);
      for (; named < run.count; named += 1) {
        const offset = (run.first + named) * this.#clusterSize;
        await this.map.change(cluster + named, () => ({ kind: 'data', offset, length: 0, copied: true }));
      }
    } catch (error) {
      if (!reserved) await allocator.giveBack(run.first + named, run.count - named);
      throw error;
    }
    return next;
  }

  /** Clusters from `cluster` on that need storage. Under their lock: the answer stays true. */
  async #countNew(cluster: number, end: number): Promise<number> {
    let count = 1;
    for (; (cluster + count) * this.#clusterSize < end; count += 1) {
      const other = await this.map.get(cluster + count);
      if (isOwn(other) || isReserved(other)) break;
    }
    return count;
  }

  /** Fills whole host clusters: the request's bytes, and around them what the guest saw before. */
  async #writeWhole(run: HostRun, cluster: number, at: number, from: Pieces, next: number): Promise<void> {
    const start = cluster * this.#clusterSize;
    const end = start + run.count * this.#clusterSize;
    const head = await this.#before(run, start, at);
    const tail = await this.#before(run, next, end);
    await this.file.writev(run.first * this.#clusterSize + (at - start) - (head?.length ?? 0), [
      ...(head ? [head] : []),
      ...from,
      ...(tail ? [tail] : []),
    ]);
  }

  /** What the guest sees in a part of one cluster; nothing when the file reads as zeroes there anyway. */
  async #before(run: HostRun, from: number, to: number): Promise<Uint8Array | undefined> {
    if (from === to) return undefined;
    const cluster = Math.floor(from / this.#clusterSize);
    if (this.reader.isZero(cluster, await this.map.get(cluster))) {
      return run.fresh ? undefined : new Uint8Array(to - from);
    }
    const bytes = new Uint8Array(to - from);
    const visible = Math.min(to, this.size) - from;
    if (visible > 0) await this.reader.readv(from, [bytes.subarray(0, visible)]);
    return bytes;
  }
}
