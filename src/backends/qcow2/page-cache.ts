/**
 * Pages of a table that lies in the image's file (L2 tables, refcount blocks), written back only when the owner says so:
 * the order in which metadata becomes durable is what keeps an image sound, so nothing is ever written on eviction.
 * Memory is bounded: a full cache evicts clean pages (second chance), and asks its owner to write out when all are dirty.
 *
 * The rule for users: `peek`, then read or change the page in the same tick. After an `await` peek again.
 * Runs on: main.
 */
import type { ImageFile } from './image-file.js';

/** Large enough that a page of L2 entries maps 32 MiB of 64 KiB clusters, small enough to write for one entry. */
const PAGE_SIZE = 4096;

export interface Page {
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  dirty: boolean;
  /** A copy of it is being written out: it must stay, or a reload would read what the disk does not have yet. */
  writing: boolean;
  /** Used since the clock's hand passed. */
  used: boolean;
}

/** The bytes a dirty page had at one moment. */
export interface DirtyCopy {
  readonly page: Page;
  readonly bytes: Uint8Array;
}

export class PageCache {
  readonly pageSize: number;
  readonly #pages = new Map<number, Page>();
  readonly #loading = new Map<number, Promise<void>>();
  #dirtyCount = 0;

  /** @param writeOut makes dirty pages clean, in the order that the image needs */
  constructor(
    readonly file: ImageFile,
    clusterSize: number,
    readonly capacity: number,
    readonly writeOut: () => Promise<void>,
  ) {
    this.pageSize = Math.min(PAGE_SIZE, clusterSize);
  }

  get dirtyCount(): number {
    return this.#dirtyCount;
  }

  /** The page that holds the byte at `offset`, if it is in memory. */
  peek(offset: number): Page | undefined {
    const page = this.#pages.get(offset - (offset % this.pageSize));
    if (page) page.used = true;
    return page;
  }

  /** Settles when the page may be in memory; peek again. */
  load(offset: number): Promise<void> {
    const start = offset - (offset % this.pageSize);
    let loading = this.#loading.get(start);
    if (!loading) {
      loading = this.#load(start).finally(() => this.#loading.delete(start));
      this.#loading.set(start, loading);
    }
    return loading;
  }

  markDirty(page: Page): void {
    if (page.dirty) return;
    page.dirty = true;
    this.#dirtyCount += 1;
  }

  /** Copies of every dirty page, which become clean here and stay in memory until `settle`. */
  takeDirty(): DirtyCopy[] {
    if (this.#dirtyCount === 0) return [];
    const copies: DirtyCopy[] = [];
    for (const page of this.#pages.values()) {
      if (!page.dirty) continue;
      copies.push({ page, bytes: page.bytes.slice() });
      page.dirty = false;
      page.writing = true;
    }
    this.#dirtyCount = 0;
    return copies;
  }

  /** The end of a write-out: what could not be written is dirty again. */
  settle(copies: readonly DirtyCopy[], written: boolean): void {
    for (const { page } of copies) {
      page.writing = false;
      if (!written) this.markDirty(page);
    }
  }

  /** Forgets a table that was given up: its storage may hold something else from now on. */
  drop(offset: number, length: number): void {
    for (let at = offset; at < offset + length; at += this.pageSize) {
      const page = this.#pages.get(at);
      if (!page) continue;
      if (page.dirty) this.#dirtyCount -= 1;
      page.dirty = false;
      this.#pages.delete(at);
    }
  }

  async #load(start: number): Promise<void> {
    if (this.#pages.has(start)) return;
    if (!this.#makeRoom()) {
      await this.writeOut();
      this.#makeRoom(); // if everything was dirtied again meanwhile, one page over the limit does no harm
    }
    const bytes = new Uint8Array(this.pageSize);
    await this.file.readv(start, [bytes]);
    const view = new DataView(bytes.buffer);
    this.#pages.set(start, { offset: start, bytes, view, dirty: false, writing: false, used: true });
  }

  /** @returns false when the cache is full of pages that may not leave */
  #makeRoom(): boolean {
    if (this.#pages.size + this.#loading.size < this.capacity) return true;
    for (const [offset, page] of this.#pages) {
      if (page.dirty || page.writing) continue;
      if (page.used) {
        page.used = false;
        this.#pages.delete(offset); // to the end of the order: the clock's hand moves on
        this.#pages.set(offset, page);
        continue;
      }
      this.#pages.delete(offset);
      return true;
    }
    return false;
  }
}
