/** A file for disk images under test, in memory, with a model of what a loss of power leaves of the writes since a sync. */
import type { ImageFile } from '../../src/backends/qcow2/image-file.js';

const SECTOR = 512;

/** One write that no sync has covered. */
interface Pending {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/**
 * A file in memory. `image` is what readers see; `afterPowerLoss` is one of the states a disk may be in if power fails
 * now: everything synced, and of the rest any sectors in any order.
 */
export class PowerLossFile implements ImageFile {
  #image: Uint8Array<ArrayBuffer>;
  #durable: Uint8Array<ArrayBuffer>;
  #size: number;
  #durableSize: number;
  #pending: Pending[] = [];
  /** Throw here to fail a write or a sync. */
  beforeWrite: (offset: number, length: number) => void = () => {};
  beforeSync: () => void = () => {};
  /** Settles before each write takes effect: lets requests overlap. */
  delay: () => Promise<void> = () => Promise.resolve();
  writes = 0;
  syncs = 0;
  punched = 0;

  constructor(bytes: Uint8Array) {
    this.#image = new Uint8Array(bytes);
    this.#durable = new Uint8Array(bytes);
    this.#size = this.#durableSize = bytes.length;
  }

  get size(): number {
    return this.#size;
  }

  get image(): Uint8Array {
    return this.#image.subarray(0, this.#size);
  }

  async readv(offset: number, into: readonly Uint8Array[]): Promise<void> {
    await this.delay();
    let at = offset;
    for (const buffer of into) {
      const there = this.#image.subarray(Math.min(at, this.#size), Math.min(at + buffer.length, this.#size));
      buffer.set(there);
      buffer.fill(0, there.length);
      at += buffer.length;
    }
  }

  async writev(offset: number, from: readonly Uint8Array[]): Promise<void> {
    if (!Number.isSafeInteger(offset) || offset < 0) throw new TypeError(`a write at ${offset}`);
    const bytes = Buffer.concat(from);
    this.beforeWrite(offset, bytes.length);
    await this.delay();
    this.writes += 1;
    this.#image = grown(this.#image, offset + bytes.length);
    this.#image.set(bytes, offset);
    this.#size = Math.max(this.#size, offset + bytes.length);
    this.#pending.push({ offset, bytes: Uint8Array.from(bytes) });
  }

  async sync(): Promise<void> {
    const covered = this.#pending.length;
    await this.delay();
    this.beforeSync();
    this.syncs += 1;
    for (const { offset, bytes } of this.#pending.splice(0, covered)) {
      this.#durable = grown(this.#durable, offset + bytes.length);
      this.#durable.set(bytes, offset);
      this.#durableSize = Math.max(this.#durableSize, offset + bytes.length);
    }
  }

  async punch(offset: number, length: number): Promise<void> {
    this.punched += length;
    const zeroes = new Uint8Array(Math.max(0, Math.min(length, this.#size - offset)));
    await this.writev(offset, [zeroes]);
  }

  close(): void {}

  /** @param keep decides for each sector of each unsynced write; `order` shuffles the writes */
  afterPowerLoss(keep: () => boolean, order: (writes: Pending[]) => Pending[]): Uint8Array {
    let state = this.#durable.slice(0, this.#durableSize);
    for (const { offset, bytes } of order([...this.#pending])) {
      for (let at = 0; at < bytes.length; ) {
        const next = Math.min(bytes.length, at + SECTOR - ((offset + at) % SECTOR));
        if (keep()) {
          const end = Math.max(state.length, offset + next);
          state = grown(state, offset + next).subarray(0, end);
          state.set(bytes.subarray(at, next), offset + at);
        }
        at = next;
      }
    }
    return state;
  }
}

/** At least `length` bytes, with room to grow. */
function grown(bytes: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
  const room = new Uint8Array(bytes.buffer, bytes.byteOffset);
  if (length <= bytes.length) return bytes;
  if (length <= room.length) return new Uint8Array(bytes.buffer, bytes.byteOffset, length);
  const larger = new Uint8Array(Math.max(length, bytes.length * 2));
  larger.set(bytes);
  return larger.subarray(0, length);
}
