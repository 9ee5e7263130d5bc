/**
 * Makes an image durable in an order that keeps it sound at every instant, whatever a crash or a loss of power leaves of
 * the writes in between:
 *
 *   refcount blocks ─ sync ─ refcount table ┐
 *   guest data, new L2 tables ──────────────┴─ sync ─ L2 entries, L1 entries ─ sync ─ lower the counts of what was freed
 *
 * A cluster is counted before anything names it, its data is there before an entry leads to it, and nothing is free while
 * an entry on disk still names it. The worst that a crash can leave is a count that is too high: a leaked cluster.
 *
 * Everything is copied in the first tick; what changes later waits for the next write-out.
 * Runs on: main.
 */
import type { FreedClusters, FreedRun } from './freed-clusters.js';
import type { ImageFile } from './image-file.js';
import type { L1Table } from './l1-table.js';
import { Serial, settleAll } from './order.js';
import type { DirtyCopy, PageCache } from './page-cache.js';
import type { Refcounts } from './refcounts.js';

export class WriteOut {
  /** One write-out, or one growth of the refcount table, at a time. */
  readonly #serial = new Serial();
  #next: Promise<void> | undefined;

  constructor(
    readonly file: ImageFile,
    readonly refcounts: Refcounts,
    readonly l1: L1Table,
    readonly l2: PageCache,
    readonly freed: FreedClusters,
    /** Told of clusters that are free now, and of a failure after which nothing more may be written. */
    readonly events: { released(done: Promise<void>): void; failed(error: unknown): void },
  ) {}

  /** Settles when every write that had completed before the call is durable. Calls that wait share one write-out. */
  flush(): Promise<void> {
    this.#next ??= this.#serial.run(() => {
      this.#next = undefined; // later callers may have changed something already: they get the one after this
      return this.#writeOut();
    });
    return this.#next;
  }

  /** Runs something that must not meet a write-out. */
  betweenWriteOuts(work: () => Promise<void>): Promise<void> {
    return this.#serial.run(work);
  }

  async #writeOut(): Promise<void> {
    const counts = this.refcounts.cache.takeDirty();
    const entries = this.l2.takeDirty();
    const tables = this.l1.takeDirty();
    const freed = this.freed.take();
    try {
      await this.#writeCounts(counts);
      if (entries.length + tables.length > 0) {
        await this.#sync();
        await settleAll([
          ...entries.map(({ page, bytes }) => this.file.writev(page.offset, [bytes])),
          ...tables.map(({ offset, bytes }) => this.file.writev(offset, [bytes])),
        ]);
      }
      await this.#sync();
      this.l2.settle(entries, true);
    } catch (error) {
      this.l2.settle(entries, false);
      this.l1.restoreDirty(tables);
      this.freed.restore(freed);
      throw error;
    }
    if (freed.length > 0) this.#release(freed);
  }

  #release(freed: readonly FreedRun[]): void {
    this.events.released(this.freed.release(freed));
  }

  /** Blocks, then the table entries of new blocks. */
  async #writeCounts(counts: readonly DirtyCopy[]): Promise<void> {
    const unlinked = new Set(this.refcounts.unlinked);
    let written = false;
    try {
      await settleAll(counts.map(({ page, bytes }) => this.file.writev(page.offset, [bytes])));
      written = true;
    } finally {
      this.refcounts.cache.settle(counts, written);
    }
    if (unlinked.size === 0) return;
    await this.#sync();
    await settleAll(
      this.refcounts.tableSectors(unlinked).map(({ offset, bytes }) => this.file.writev(offset, [bytes])),
    );
    for (const index of unlinked) this.refcounts.unlinked.delete(index);
  }

  /** After a failed sync the host may have thrown the data away (fsync(2)): a second one would prove nothing. */
  async #sync(): Promise<void> {
    try {
      await this.file.sync();
    } catch (error) {
      this.events.failed(error);
      throw error;
    }
  }
}
