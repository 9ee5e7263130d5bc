/**
 * The driver's side of one split virtqueue, written from virtio 1.2 §2.7 and not from src/virtio: what both sides get wrong alike
 * would otherwise never be noticed. `add` places a buffer, `kick` tells the device, `collect` takes what it has used.
 */
import type { GuestRam } from './guest-ram.js';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/**
 * One element of a buffer: bytes that the device reads, a number of bytes that it may write, or a place given by hand
 * (`flags` beyond NEXT, WRITE and INDIRECT are then the test's business).
 */
export type Piece = Uint8Array | number | Placed;
export interface Placed {
  readonly at: number;
  readonly length: number;
  readonly write?: boolean;
  readonly flags?: number;
}

/** A buffer the device may use. */
export interface Posted {
  readonly head: number;
  readonly pieces: readonly Required<Omit<Placed, 'flags'>>[];
  /** A copy of everything the device may write, in order. */
  readonly written: () => Uint8Array;
}

export interface Used {
  readonly head: number;
  /** `len` of the used element. */
  readonly length: number;
  /** The buffer; undefined when the device gave back a head that was not posted. */
  readonly posted: Posted | undefined;
}

export interface RawDescriptor {
  readonly at: bigint | number;
  readonly length: number;
  readonly flags?: number;
  readonly next?: number;
}

export interface QueueOptions {
  readonly eventIdx: boolean;
  /** Writes QueueNotify. */
  readonly notify: () => void | Promise<void>;
}

export class FakeQueue {
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  readonly #free: number[];
  readonly #posted = new Map<number, Posted & { readonly descriptors: readonly number[] }>();
  #availIdx = 0;
  #lastUsed = 0;
  /** avail.idx at the last decision about a kick. */
  #kickedIdx = 0;

  constructor(
    readonly ram: GuestRam,
    readonly index: number,
    readonly size: number,
    private readonly options: QueueOptions,
  ) {
    this.desc = ram.alloc(16 * size, 16);
    this.avail = ram.alloc(6 + 2 * size, 2);
    this.used = ram.alloc(6 + 8 * size, 4);
    this.#free = Array.from({ length: size }, (_, index) => size - 1 - index);
  }

  /** Places a buffer and makes it available; the device is not told. @param indirect how many pieces lie in an indirect table: all, or the last ones */
  add(pieces: readonly Piece[], { indirect = false }: { indirect?: boolean | number } = {}): Posted {
    const placed = pieces.map((piece) => this.#place(piece));
    const inTable = indirect === true ? placed.length : Number(indirect);
    const direct = placed.slice(0, placed.length - inTable);
    const descriptors = this.#take(direct.length + (inTable > 0 ? 1 : 0));
    for (const [position, piece] of direct.entries()) {
      const last = position === descriptors.length - 1;
      this.descriptor(
        descriptors[position]!,
        this.#encode(piece, last ? undefined : descriptors[position + 1]),
      );
    }
    if (inTable > 0) {
      const table = this.ram.alloc(16 * inTable);
      const rest = placed.slice(direct.length);
      for (const [position, piece] of rest.entries()) {
        const next = position === rest.length - 1 ? undefined : position + 1;
        this.#writeDescriptor(table + 16 * position, this.#encode(piece, next));
      }
      this.descriptor(descriptors.at(-1)!, { at: table, length: 16 * inTable, flags: INDIRECT });
    }
    const head = descriptors[0]!;
    const posted = {
      head,
      pieces: placed.map(({ at, length, write = false }) => ({ at, length, write })),
      descriptors,
      written: () => this.#written(placed),
    };
    this.#posted.set(head, posted);
    this.offer(head);
    return posted;
  }

  /** The next entry of the available ring: any number, posted or not. */
  offer(head: number): void {
    this.ram.setU16(this.avail + 4 + 2 * (this.#availIdx % this.size), head);
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    this.ram.setU16(this.avail + 2, this.#availIdx);
  }

  /** Writes one entry of the descriptor table: any bytes. */
  descriptor(index: number, raw: RawDescriptor): void {
    this.#writeDescriptor(this.desc + 16 * index, raw);
  }

  /** Notifies the device if it wants that (§2.7.10.1). @returns whether it was notified */
  kick(): boolean {
    const from = this.#kickedIdx;
    const to = this.#availIdx;
    this.#kickedIdx = to;
    if (!this.#wantsKick(from, to)) return false;
    this.notify();
    return true;
  }
  /** Notifies the device whatever it wants. */
  notify(): void {
    void this.options.notify();
  }
  /** `add` and `kick`. */
  post(pieces: readonly Piece[], options: { indirect?: boolean | number } = {}): Posted {
    const posted = this.add(pieces, options);
    this.kick();
    return posted;
  }

  /** Takes what the device has used since the last call, and its descriptors back. */
  collect(): Used[] {
    const found: Used[] = [];
    while (this.#lastUsed !== this.usedIdx) {
      const at = this.used + 4 + 8 * (this.#lastUsed % this.size);
      const head = this.ram.u32(at);
      const posted = this.#posted.get(head);
      if (posted) {
        this.#posted.delete(head);
        this.#free.push(...posted.descriptors);
      }
      found.push({ head, length: this.ram.u32(at + 4), posted });
      this.#lastUsed = (this.#lastUsed + 1) & 0xffff;
      // A device that counts wildly would otherwise keep us here for 65536 rounds of nonsense.
      if (found.length > this.size) throw new Error(`used.idx ran ahead to ${this.usedIdx}`);
    }
    return found;
  }

  /** `collect`, turn after turn of the event loop, until there are `count`. @throws Error after `limitMs` */
  async take(count = 1, limitMs = 5000): Promise<Used[]> {
    const found = this.collect();
    for (const end = performance.now() + limitMs; found.length < count; ) {
      if (performance.now() > end)
        throw new Error(`${found.length} of ${count} buffers used after ${limitMs} ms`);
      await new Promise((resolve) => setImmediate(resolve));
      found.push(...this.collect());
    }
    return found;
  }

  get usedIdx(): number {
    return this.ram.u16(this.used + 2);
  }
  get usedFlags(): number {
    return this.ram.u16(this.used);
  }
  /** §2.7.10: where the device wants to be kicked. */
  get availEvent(): number {
    return this.ram.u16(this.used + 4 + 8 * this.size);
  }
  get availIdx(): number {
    return this.#availIdx;
  }
  /** For drivers that break rules. */
  set availIdx(value: number) {
    this.#availIdx = value & 0xffff;
    this.ram.setU16(this.avail + 2, this.#availIdx);
  }
  /** For a queue that has been used before: both sides' counters stand at `index`. */
  startAt(index: number): void {
    this.availIdx = index;
    this.#kickedIdx = this.#availIdx;
    this.#lastUsed = this.#availIdx;
    this.ram.setU16(this.used + 2, this.#availIdx);
  }
  /** avail.flags: 1 asks for no interrupts (§2.7.7). */
  set availFlags(value: number) {
    this.ram.setU16(this.avail, value);
  }
  /** §2.7.7: which used entry shall interrupt. */
  set usedEvent(value: number) {
    this.ram.setU16(this.avail + 4 + 2 * this.size, value & 0xffff);
  }
  /** Descriptors nobody uses. */
  get free(): number {
    return this.#free.length;
  }

  #wantsKick(from: number, to: number): boolean {
    if (from === to) return false;
    if (!this.options.eventIdx) return this.usedFlags !== 1;
    // avail_event lies in [from, to), modulo 2^16: counted one by one, so that it cannot share a mistake with clever arithmetic.
    const event = this.availEvent;
    for (let at = from; at !== to; at = (at + 1) & 0xffff) if (at === event) return true;
    return false;
  }

  #take(count: number): number[] {
    if (count === 0 || count > this.#free.length)
      throw new Error(`${count} of ${this.#free.length} descriptors`);
    return Array.from({ length: count }, () => this.#free.pop()!);
  }

  #place(piece: Piece): Placed {
    if (typeof piece === 'number') return { at: this.ram.alloc(piece, 1), length: piece, write: true };
    if (piece instanceof Uint8Array) return { at: this.ram.put(piece), length: piece.length };
    return piece;
  }

  #encode({ at, length, write, flags = 0 }: Placed, next: number | undefined): RawDescriptor {
    const bits = flags | (write ? WRITE : 0) | (next === undefined ? 0 : NEXT);
    return { at, length, flags: bits, next: next ?? 0 };
  }

  #writeDescriptor(place: number, { at, length, flags = 0, next = 0 }: RawDescriptor): void {
    this.ram.setU64(place, BigInt(at));
    this.ram.setU32(place + 8, length);
    this.ram.setU16(place + 12, flags);
    this.ram.setU16(place + 14, next);
  }

  #written(placed: readonly Placed[]): Uint8Array {
    const pieces = placed.filter(({ write }) => write).map(({ at, length }) => this.ram.at(at, length));
    const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
    let done = 0;
    for (const piece of pieces) {
      all.set(piece, done);
      done += piece.length;
    }
    return all;
  }
}
