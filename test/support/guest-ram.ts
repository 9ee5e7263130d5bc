/**
 * A guest's memory for tests without KVM: plain bytes at a guest address that is not their offset, between two stretches of canaries
 * that nobody may touch. The driver's side reads and writes it here by guest address, apart from src/memory.
 */
import { type Gpa, gpa, MiB } from '../../src/base/units.js';
import { GuestMemory } from '../../src/memory/guest-memory.js';

const CANARY_BYTES = 4096;
const CANARY = 0xc5;
const CANARIES = new Uint8Array(CANARY_BYTES).fill(CANARY);
/** Where test RAM starts: far enough from 0 that an offset taken for an address is noticed. */
export const RAM_BASE = gpa(0x4000_0000);

export class GuestRam {
  readonly base: Gpa = RAM_BASE;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  /** What devices see. */
  readonly memory: GuestMemory;
  readonly #all: Uint8Array;
  #next = 0;

  constructor(readonly size = MiB) {
    this.#all = new Uint8Array(CANARY_BYTES + size + CANARY_BYTES);
    this.#all.fill(CANARY, 0, CANARY_BYTES).fill(CANARY, CANARY_BYTES + size);
    this.bytes = new Uint8Array(this.#all.buffer as ArrayBuffer, CANARY_BYTES, size);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, size);
    this.memory = GuestMemory.over(this.bytes, this.base);
  }

  get end(): Gpa {
    return gpa(this.base + this.size);
  }

  /** Guest-physical address of `length` zeroed bytes. @throws Error when there are none left */
  alloc(length: number, align = 16): Gpa {
    const at = Math.ceil(this.#next / align) * align;
    if (at + length > this.size) throw new Error(`test RAM of ${this.size} bytes is used up`);
    this.#next = at + length;
    this.bytes.fill(0, at, at + length);
    return gpa(this.base + at);
  }

  /** Forgets every allocation made since `mark`. */
  release(mark: Gpa): void {
    this.#next = mark - this.base;
  }
  mark(): Gpa {
    return gpa(this.base + this.#next);
  }

  /** The bytes themselves. */
  at(address: number, length: number): Uint8Array {
    const offset = address - this.base;
    if (offset < 0 || offset + length > this.size)
      throw new RangeError(`test RAM has no ${length} at ${address}`);
    return this.bytes.subarray(offset, offset + length);
  }
  /** Allocates and fills. */
  put(bytes: Uint8Array): Gpa {
    const at = this.alloc(bytes.length, 1);
    this.at(at, bytes.length).set(bytes);
    return at;
  }

  u16(address: number): number {
    return this.view.getUint16(address - this.base, true);
  }
  u32(address: number): number {
    return this.view.getUint32(address - this.base, true);
  }
  setU16(address: number, value: number): void {
    this.view.setUint16(address - this.base, value, true);
  }
  setU32(address: number, value: number): void {
    this.view.setUint32(address - this.base, value, true);
  }
  setU64(address: number, value: bigint): void {
    this.view.setBigUint64(address - this.base, value, true);
  }

  /** Whether nothing outside the RAM was written. */
  get intact(): boolean {
    const untouched = (from: number): boolean =>
      Buffer.compare(this.#all.subarray(from, from + CANARY_BYTES), CANARIES) === 0;
    return untouched(0) && untouched(CANARY_BYTES + this.size);
  }
}
