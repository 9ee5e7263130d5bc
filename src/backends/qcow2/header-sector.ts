/**
 * Changes of the header, each one whole sector written and made durable: a disk writes 512 bytes as one, so no crash leaves
 * half a change.
 */
import { FIELD } from './header.js';
import type { ImageFile } from './image-file.js';
import { Serial } from './order.js';

const SECTOR = 512;

export class HeaderSector {
  readonly #view: DataView;
  readonly #serial = new Serial();

  /** @param first the file's first bytes, a sector at least */
  constructor(
    readonly file: ImageFile,
    first: Uint8Array,
  ) {
    this.#view = new DataView(first.slice(0, SECTOR).buffer);
  }

  /** Version 3 only: says that what unknown features promised about the image is no longer true. */
  clearAutoclear(): Promise<void> {
    return this.#change((view) => view.setBigUint64(FIELD.AUTOCLEAR, 0n));
  }

  setRefcountTable(offset: number, clusters: number): Promise<void> {
    return this.#change((view) => {
      view.setBigUint64(FIELD.REFCOUNT_TABLE_OFFSET, BigInt(offset));
      view.setUint32(FIELD.REFCOUNT_TABLE_OFFSET + 8, clusters);
    });
  }

  /** What the new header names is durable already: that is the caller's part. */
  #change(edit: (view: DataView) => void): Promise<void> {
    return this.#serial.run(async () => {
      edit(this.#view);
      await this.file.writev(0, [new Uint8Array(this.#view.buffer.slice(0))]);
      await this.file.sync();
    });
  }
}
