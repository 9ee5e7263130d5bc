/**
 * Guest-physical memory: the one place where a guest address becomes bytes of this process.
 *
 *  1. Every access goes through `#locate`, which refuses anything outside RAM with a GuestFault.
 *  2. The guest writes at any time: read a field once, check it, then trust the copy.
 *  3. Ring indices use `loadU16`/`storeU16` (Atomics, sequentially consistent); the rest is plain.
 *
 * On Node 20 one ArrayBuffer ends at 4 GiB, so a region is a list of views that start every GiB and reach
 * one GiB into the next: a range of up to 1 GiB inside a region always lies in a single view.
 * Runs on: main.
 */
import { GuestFault } from '../base/errors.js';
import { GiB, type Gpa, hex } from '../base/units.js';

/** Distance between the starts of two views of a region, bytes. */
export const VIEW_STRIDE = GiB;
/** Longest view, bytes: the stride and its overlap with the next. */
export const VIEW_LENGTH = 2 * GiB;

/** A range of RAM: `views[i]` shows the bytes from `base + i × VIEW_STRIDE` on. */
export interface MemoryRegion {
  readonly base: Gpa;
  readonly size: number; // bytes
  readonly views: readonly Uint8Array[];
}

interface Window {
  readonly bytes: Uint8Array;
  readonly data: DataView;
  readonly u16: Uint16Array;
}

interface Mapped {
  readonly base: number;
  readonly end: number;
  readonly windows: readonly Window[];
}

const NOWHERE: Mapped = { base: 0, end: 0, windows: [] };

export class GuestMemory {
  /** All RAM, bytes. */
  readonly size: number;
  readonly #regions: readonly Mapped[];
  #last: Mapped;

  /** @param regions sorted by `base`, not overlapping */
  constructor(readonly regions: readonly MemoryRegion[]) {
    this.#regions = regions.map(({ base, size, views }) => ({
      base,
      end: base + size,
      windows: views.map((bytes) => ({
        bytes,
        data: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
        u16: new Uint16Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.length / 2)),
      })),
    }));
    this.size = regions.reduce((sum, region) => sum + region.size, 0);
    this.#last = this.#regions[0] ?? NOWHERE;
  }

  /** RAM over plain bytes, for tests and for tools that work on a memory image. */
  static over(bytes: Uint8Array, base = 0 as Gpa): GuestMemory {
    return new GuestMemory([{ base, size: bytes.length, views: [bytes] }]);
  }

  /** Whether all of [at, at + length) is RAM of one region. */
  contains(at: Gpa, length: number): boolean {
    return length >= 0 && this.#regions.some((region) => at >= region.base && at + length <= region.end);
  }

  /**
   * The bytes themselves, not a copy: the guest may change them at any time.
   * @param length at most 1 GiB
   * @throws GuestFault when the range is not RAM of one region
   */
  slice(at: Gpa, length: number): Uint8Array {
    const region = this.#locate(at, length);
    if (length > VIEW_STRIDE)
      throw new GuestFault(`${length} bytes at ${hex(at)} in one piece`, 'memory map');
    const offset = at - region.base;
    const window = windowOf(region, offset);
    const start = offset % VIEW_STRIDE;
    return window.bytes.subarray(start, start + length);
  }

  /** The same for a range of any length inside one region: pieces in order, each at most 1 GiB. */
  *slices(at: Gpa, length: number): Generator<Uint8Array> {
    this.#locate(at, length);
    for (let done = 0; done < length; done += VIEW_STRIDE) {
      yield this.slice((at + done) as Gpa, Math.min(VIEW_STRIDE, length - done));
    }
  }

  /** Copies `bytes` into RAM. */
  write(at: Gpa, bytes: Uint8Array): void {
    let done = 0;
    for (const piece of this.slices(at, bytes.length)) {
      piece.set(bytes.subarray(done, done + piece.length));
      done += piece.length;
    }
  }

  readU8(at: Gpa): number {
    return this.#data(at, 1).getUint8(this.#offset);
  }
  readU16(at: Gpa): number {
    return this.#data(at, 2).getUint16(this.#offset, true);
  }
  readU32(at: Gpa): number {
    return this.#data(at, 4).getUint32(this.#offset, true);
  }
  readU64(at: Gpa): bigint {
    return this.#data(at, 8).getBigUint64(this.#offset, true);
  }
  /**
   * A 64-bit field that holds a guest address, as two 32-bit reads of the same copy.
   * @throws GuestFault above 52 bits, where no guest-physical address can be (SDM vol. 3 §4.1.4)
   */
  readGpa(at: Gpa): Gpa {
    const data = this.#data(at, 8);
    const high = data.getUint32(this.#offset + 4, true);
    if (high >= 2 ** 20) throw new GuestFault(`address above 52 bits at ${hex(at)}`, 'SDM vol. 3 §4.1.4');
    return (high * 2 ** 32 + data.getUint32(this.#offset, true)) as Gpa;
  }
  writeU8(at: Gpa, value: number): void {
    this.#data(at, 1).setUint8(this.#offset, value);
  }
  writeU16(at: Gpa, value: number): void {
    this.#data(at, 2).setUint16(this.#offset, value, true);
  }
  writeU32(at: Gpa, value: number): void {
    this.#data(at, 4).setUint32(this.#offset, value, true);
  }
  writeU64(at: Gpa, value: bigint): void {
    this.#data(at, 8).setBigUint64(this.#offset, value, true);
  }

  /** Sequentially consistent load; `at` must be even. */
  loadU16(at: Gpa): number {
    return Atomics.load(this.#u16(at), this.#offset / 2);
  }
  /** Sequentially consistent store; `at` must be even. */
  storeU16(at: Gpa, value: number): void {
    Atomics.store(this.#u16(at), this.#offset / 2, value);
  }

  /** Where in the window just located the access starts: saves an allocation for every field. */
  #offset = 0;

  #data(at: Gpa, length: number): DataView {
    return this.#window(at, length).data;
  }

  #u16(at: Gpa): Uint16Array {
    if (at % 2 !== 0) throw new GuestFault(`odd address ${hex(at)} for a 16-bit index`, 'virtio 1.2 §2.7');
    return this.#window(at, 2).u16;
  }

  #window(at: Gpa, length: number): Window {
    const region = this.#locate(at, length);
    const offset = at - region.base;
    this.#offset = offset % VIEW_STRIDE;
    return windowOf(region, offset);
  }

  #locate(at: Gpa, length: number): Mapped {
    const last = this.#last;
    if (at >= last.base && at + length <= last.end && length >= 0) return last;
    const found = this.#regions.find((region) => at >= region.base && at + length <= region.end);
    if (!found || !(length >= 0))
      throw new GuestFault(`${length} bytes at ${hex(at)} are not RAM`, 'memory map');
    this.#last = found;
    return found;
  }
}

function windowOf(region: Mapped, offset: number): Window {
  // In range by `#locate`; an empty range at the very end of a region may name the window after the last.
  const index = Math.min(Math.floor(offset / VIEW_STRIDE), region.windows.length - 1);
  return region.windows[index]!;
}
