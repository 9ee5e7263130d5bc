/**
 * The active L1 table, whole and in memory as it lies on disk (32 MiB at most): where the L2 tables are. Changed sectors
 * wait for the write-out. QEMU docs/interop/qcow2.txt "L1 table entry".
 */
import { hex } from '../../base/units.js';
import { ImageError } from './image-error.js';
import type { ImageFile } from './image-file.js';

const COPIED = 0x8000_0000;
const RESERVED_HIGH = 0x7f00_0000;
const RESERVED_LOW = 0x1ff;
/** Entries in the 512 bytes that a disk writes as one. */
const PER_SECTOR = 64;

export interface L1Entry {
  /** Host offset of the L2 table; 0: none. */
  readonly offset: number;
  /** The table belongs to the active state alone. */
  readonly copied: boolean;
}

export class L1Table {
  readonly #view: DataView;
  readonly #dirtySectors = new Set<number>();

  constructor(
    readonly bytes: Uint8Array,
    readonly offset: number,
    readonly clusterSize: number,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** @param size entries */
  static async load(file: ImageFile, offset: number, size: number, clusterSize: number): Promise<L1Table> {
    const bytes = new Uint8Array(Math.ceil(size / PER_SECTOR) * PER_SECTOR * 8); // whole sectors, to write them back
    await file.readv(offset, [bytes.subarray(0, size * 8)]);
    return new L1Table(bytes, offset, clusterSize);
  }

  /** @throws ImageError for an entry that no writer produces */
  get(index: number): L1Entry {
    const high = this.#view.getUint32(index * 8);
    const low = this.#view.getUint32(index * 8 + 4);
    const offset = (high & 0x00ff_ffff) * 2 ** 32 + low;
    const header = offset === 0 && (high & COPIED) !== 0;
    if (high & RESERVED_HIGH || low & RESERVED_LOW || offset % this.clusterSize !== 0 || header) {
      throw new ImageError(`L1 entry ${index} is damaged: ${hex(BigInt(high) * 2n ** 32n + BigInt(low))}`);
    }
    return { offset, copied: (high & COPIED) !== 0 };
  }

  /** Points an entry to a table with a reference count of one. */
  set(index: number, offset: number): void {
    this.#view.setUint32(index * 8, (Math.floor(offset / 2 ** 32) | COPIED) >>> 0);
    this.#view.setUint32(index * 8 + 4, offset % 2 ** 32);
    this.#dirtySectors.add(Math.floor(index / PER_SECTOR));
  }

  /** Host cluster numbers of all L2 tables. Damaged entries are left out: nothing is ever reached through them. */
  tables(): number[] {
    const clusters: number[] = [];
    for (let index = 0; index < this.bytes.length / 8; index += 1) {
      const high = this.#view.getUint32(index * 8) & ~COPIED;
      const low = this.#view.getUint32(index * 8 + 4);
      const cluster = (high * 2 ** 32 + low) / this.clusterSize;
      if (cluster !== 0 && !(high & RESERVED_HIGH) && Number.isInteger(cluster)) clusters.push(cluster);
    }
    return clusters;
  }

  /** Copies of the changed sectors, which count as clean from here on. */
  takeDirty(): { readonly sector: number; readonly offset: number; readonly bytes: Uint8Array }[] {
    const taken = [...this.#dirtySectors].map((sector) => ({
      sector,
      offset: this.offset + sector * PER_SECTOR * 8,
      bytes: this.bytes.slice(sector * PER_SECTOR * 8, (sector + 1) * PER_SECTOR * 8),
    }));
    this.#dirtySectors.clear();
    return taken;
  }

  restoreDirty(taken: readonly { readonly sector: number }[]): void {
    for (const { sector } of taken) this.#dirtySectors.add(sector);
  }
}
