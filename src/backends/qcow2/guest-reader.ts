/**
 * Reads what the guest sees: from the image's clusters, from zero clusters, from compressed ones, and from the backing
 * file where nothing is allocated. Neighbouring clusters that lie together are one read of the file.
 * Runs on: main.
 */
import { lengthOf, type Pieces } from '../../base/pieces.js';
import { BufferCursor, fillZero } from './buffer-cursor.js';
import type { ClusterMap } from './cluster-map.js';
import { type RunServer, runEnd, serveRuns } from './cluster-walk.js';
import type { CompressedClusters } from './compressed.js';
import type { ImageFile } from './image-file.js';
import type { Mapping } from './l2-entry.js';

/** A disk that shows through where the image has nothing. */
export interface BackingDisk {
  readonly size: number;
  readv(offset: number, into: Pieces): void | Promise<void>;
  close(): void | Promise<void>;
}

export class GuestReader implements RunServer {
  readonly #clusterSize: number;

  constructor(
    readonly file: ImageFile,
    readonly map: ClusterMap,
    readonly compressed: CompressedClusters,
    readonly backing: BackingDisk | undefined,
  ) {
    this.#clusterSize = map.clusterSize;
  }

  /** @returns nothing when it was done at once */
  readv(offset: number, into: Pieces): void | Promise<void> {
    const end = offset + lengthOf(into);
    const cluster = Math.floor(offset / this.#clusterSize);
    const mapping = this.map.peek(cluster);
    if (mapping && end <= this.spanOf(cluster, mapping, end)) return this.serve(mapping, offset, into);
    return serveRuns(this.map, offset, into, this);
  }

  /** Whether a cluster reads as zeroes and needs no look at its bytes to know. */
  isZero(cluster: number, mapping: Mapping): boolean {
    if (mapping.kind === 'zero') return true;
    return mapping.kind === 'unallocated' && cluster * this.#clusterSize >= (this.backing?.size ?? 0);
  }

  spanOf(cluster: number, { kind, offset }: Mapping, end: number): number {
    if (kind === 'compressed') return (cluster + 1) * this.#clusterSize;
    return runEnd(this.map, cluster, end, (other, distance) => {
      if (other.kind !== kind) return false;
      return kind !== 'data' || other.offset === offset + distance * this.#clusterSize;
    });
  }

  serve(mapping: Mapping, offset: number, into: Pieces): void | Promise<void> {
    const within = offset % this.#clusterSize;
    switch (mapping.kind) {
      case 'data':
        return this.file.readv(mapping.offset + within, into);
      case 'zero':
        return fillZero(into);
      case 'compressed':
        return this.#readCompressed(mapping, within, into);
      case 'unallocated':
        return this.#readBacking(offset, into);
    }
  }

  async #readCompressed(mapping: Mapping, within: number, into: Pieces): Promise<void> {
    const decoded = await this.compressed.read(mapping);
    let at = within;
    for (const buffer of into) {
      buffer.set(decoded.subarray(at, at + buffer.length));
      at += buffer.length;
    }
  }

  #readBacking(offset: number, into: Pieces): void | Promise<void> {
    const length = lengthOf(into);
    const there = Math.max(0, Math.min(length, (this.backing?.size ?? 0) - offset));
    if (!this.backing || there === 0) return fillZero(into);
    if (there === length) return this.backing.readv(offset, into);
    const cursor = new BufferCursor(into);
    const first = cursor.take(there);
    fillZero(cursor.take(length - there));
    return this.backing.readv(offset, first);
  }
}
