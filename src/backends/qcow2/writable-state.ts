/**
 * What an image that is open for writing has besides its reader: reference counts, the allocator, the order of writing out,
 * and the end of all writing after a failure that makes the next write unsafe.
 * Runs on: main.
 */
import { RangeLock } from '../../base/range-lock.js';
import { Allocator } from './allocator.js';
import { ClusterMap } from './cluster-map.js';
import type { CompressedClusters } from './compressed.js';
import { FreedClusters } from './freed-clusters.js';
import { GuestEraser } from './guest-eraser.js';
import { type BackingDisk, GuestReader } from './guest-reader.js';
import { GuestWriter } from './guest-writer.js';
import type { Qcow2Header } from './header.js';
import { HeaderSector } from './header-sector.js';
import { ImageError } from './image-error.js';
import type { ImageFile } from './image-file.js';
import type { L1Table } from './l1-table.js';
import { MetadataClusters } from './metadata-clusters.js';
import { Generations } from './order.js';
import { PageCache } from './page-cache.js';
import { growRefcountTable } from './refcount-growth.js';
import { Refcounts } from './refcounts.js';
import { snapshotRanges } from './snapshot-table.js';
import { WriteOut } from './write-out.js';

/** Pages of refcount blocks in memory: 1 MiB counts 32 GiB of 64 KiB clusters. */
const REFCOUNT_PAGES = 256;
/** Runs of freed clusters that may wait for a write-out. */
const MOST_FREED = 4096;

export interface WritableParts {
  readonly file: ImageFile;
  readonly header: Qcow2Header;
  /** The first cluster of the file. */
  readonly first: Uint8Array;
  readonly l1: L1Table;
  readonly compressed: CompressedClusters;
  readonly backing: BackingDisk | undefined;
  readonly l2Pages: number;
}

export class WritableState {
  readonly reader: GuestReader;
  readonly #writer: GuestWriter;
  readonly #eraser: GuestEraser;
  readonly #generations = new Generations();
  readonly #freed: FreedClusters;
  readonly #writeOut: WriteOut;
  readonly #header: HeaderSector;
  readonly #refcounts: Refcounts;
  readonly #allocator: Allocator;
  readonly #metadata: MetadataClusters;
  readonly #clusterSize: number;
  #mustClear: boolean;
  #clearing: Promise<void> | undefined;
  /** Settles when what past write-outs freed is free. */
  #releasing: Promise<void> = Promise.resolve();
  #failure: unknown;

  private constructor(parts: WritableParts, refcounts: Refcounts, metadata: MetadataClusters) {
    const { file, header, l1, compressed, backing } = parts;
    const { clusterSize } = header;
    this.#clusterSize = clusterSize;
    this.#refcounts = refcounts;
    this.#metadata = metadata;
    this.#header = new HeaderSector(file, parts.first);
    this.#mustClear = header.autoclear !== 0n;
    const allocator = new Allocator(file, refcounts, metadata, clusterSize, () => this.#growRefcounts(file));
    this.#allocator = allocator;
    this.#freed = new FreedClusters(file, refcounts, allocator, metadata, this.#generations, clusterSize);
    const cache = new PageCache(file, clusterSize, parts.l2Pages, () => this.#writeOut.flush());
    const changes = { allocator, metadata, freed: this.#freed };
    const map = new ClusterMap(file, header, l1, cache, changes);
    this.#writeOut = new WriteOut(file, refcounts, l1, cache, this.#freed, {
      failed: (error) => this.#fail(error),
      released: (done) => {
        const before = this.#releasing;
        this.#releasing = done.then(
          () => before,
          (error) => this.#fail(error),
        );
      },
    });
    const locks = new RangeLock();
    this.reader = new GuestReader(file, map, compressed, backing);
    this.#writer = new GuestWriter(file, map, this.reader, changes, locks, header.size);
    this.#eraser = new GuestEraser(map, this.reader, this.#writer, locks, header.version, header.size, () =>
      this.#relieve(),
    );
  }

  /** @throws ImageError when the structures contradict each other: then the image may be read, not written */
  static async open(parts: WritableParts): Promise<WritableState> {
    const { file, header, l1 } = parts;
    let state: WritableState | undefined;
    const cache = new PageCache(file, header.clusterSize, REFCOUNT_PAGES, async () => state?.flush());
    const refcounts = await Refcounts.load(file, header, cache);
    const metadata = await findMetadata(file, header, l1, refcounts);
    state = new WritableState(parts, refcounts, metadata);
    return state;
  }

  /** Runs a request, during which nothing it may have looked up is given to anybody else. */
  request(work: () => void | Promise<void>): void | Promise<void> {
    const leave = this.#generations.enter();
    let result: void | Promise<void>;
    try {
      result = work();
    } catch (error) {
      leave();
      throw error;
    }
    if (!result) return leave();
    return result.finally(leave);
  }

  /** A request that changes the image. */
  change(work: (writer: GuestWriter, eraser: GuestEraser) => void | Promise<void>): void | Promise<void> {
    this.#refuseAfterFailure();
    if (this.#mustClear || this.#freed.waiting > MOST_FREED) {
      return this.#prepare().then(() => this.request(() => work(this.#writer, this.#eraser)));
    }
    return this.request(() => work(this.#writer, this.#eraser));
  }

  async flush(): Promise<void> {
    this.#refuseAfterFailure();
    await this.#writeOut.flush();
  }

  /** Everything durable and nothing leaked. */
  async finish(): Promise<void> {
    await this.flush();
    await this.#releasing;
    await this.flush();
  }

  async #prepare(): Promise<void> {
    if (this.#mustClear) {
      this.#clearing ??= this.#header.clearAutoclear().finally(() => {
        this.#clearing = undefined;
      });
      await this.#clearing;
      this.#mustClear = false;
    }
    await this.#relieve();
  }

  async #relieve(): Promise<void> {
    if (this.#freed.waiting > MOST_FREED) await this.#writeOut.flush();
  }

  #growRefcounts(file: ImageFile): Promise<void> {
    return this.#writeOut.betweenWriteOuts(async () => {
      const { first, count, old } = await growRefcountTable(
        file,
        this.#refcounts,
        this.#clusterSize,
        (offset, clusters) => this.#header.setRefcountTable(offset, clusters),
      );
      this.#allocator.raiseEnd(first + count);
      this.#metadata.add(first, count);
      this.#freed.addStructure(old.first, old.count);
    });
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
  }

  #refuseAfterFailure(): void {
    if (this.#failure === undefined) return;
    throw new ImageError('nothing more is written to the image after a failure', { cause: this.#failure });
  }
}

/** Every host cluster with a structure of the image in it. @throws ImageError when two lie in one place */
async function findMetadata(
  file: ImageFile,
  header: Qcow2Header,
  l1: L1Table,
  refcounts: Refcounts,
): Promise<MetadataClusters> {
  const { clusterSize } = header;
  const ranges = [
    { offset: 0, length: clusterSize },
    { offset: header.l1Offset, length: header.l1Size * 8 },
    refcounts.tableRange,
    ...refcounts.blocks().map((offset) => ({ offset, length: clusterSize })),
    ...(await snapshotRanges(file, header)),
  ];
  const clusters = ranges.flatMap(({ offset, length }) =>
    Array.from({ length: Math.ceil(length / clusterSize) }, (_, index) => offset / clusterSize + index),
  );
  const metadata = new MetadataClusters(Float64Array.from([...clusters, ...l1.tables()]), clusterSize);
  const twice = metadata.duplicate();
  if (twice !== undefined) {
    throw new ImageError(`two structures of the image lie at ${twice * clusterSize}: it may only be read`, {
      hint: 'qemu-img check shows what is wrong',
    });
  }
  return metadata;
}
