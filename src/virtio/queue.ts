/**
 * The device's side of a split virtqueue (virtio 1.2 §2.7).
 *
 *  1. Every field the driver wrote is read once, checked, and then trusted; a violation is a GuestFault with its clause.
 *  2. `idx` fields are loaded and stored with Atomics (sequentially consistent); everything between two of them is plain.
 *  3. No call does more work than one ring's worth of chains, whatever the driver posts meanwhile.
 *
 * The rings' places are checked when the queue is made. After that only `#walk` looks at guest addresses.
 * Runs on: main.
 */
import { GuestFault } from '../base/errors.js';
import { type Gpa, gpa } from '../base/units.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import {
  ALIGN,
  AVAIL_F_NO_INTERRUPT,
  availSize,
  DESC,
  DESC_F,
  descSize,
  MAX_QUEUE_SIZE,
  USED,
  usedSize,
} from './ring.js';

/** Where a queue lies in guest memory. */
export interface QueueLayout {
  /** Entries, a power of two. */
  readonly size: number;
  readonly desc: Gpa;
  readonly avail: Gpa;
  readonly used: Gpa;
}

/** Which optional parts of §2.7 were negotiated. */
export interface QueueFeatures {
  readonly indirect: boolean;
  readonly eventIdx: boolean;
}

/** A queue's position, for snapshots. */
export interface QueueState {
  readonly nextAvail: number;
  readonly nextUsed: number;
}

/** A buffer the driver made available: pieces of guest memory itself, which the guest may change at any time. */
export interface Chain {
  /** Index of its first descriptor; names the chain in the used ring. */
  readonly head: number;
  /** What the driver wrote for the device, in order. */
  readonly readable: readonly Uint8Array[];
  /** What the device may write, in order; it follows the readable part (§2.7.4.2). */
  readonly writable: readonly Uint8Array[];
}

/** §2.7.5.2: "more than 2^32 bytes in total" must not be in one chain. */
const MAX_CHAIN_BYTES = 2 ** 32;
/** Index of `idx` in the rings seen as 16-bit words; their entries start at the next. */
const IDX = 1;
const ENTRIES = 2;

const wrap16 = (value: number): number => value & 0xffff;

/** One queue of a session. Usually `drain` does: it serves what waits and says whether to interrupt. */
export class Queue {
  readonly #memory: GuestMemory;
  readonly #eventIdx: boolean;
  readonly #indirect: boolean;
  readonly #desc: DataView;
  readonly #avail: Uint16Array;
  readonly #used: DataView;
  readonly #used16: Uint16Array;
  readonly #mask: number;
  /** Free-running positions, modulo 2^16. */
  #nextAvail: number;
  #nextUsed: number;
  /** `avail.idx` as last read: everything up to it is visible. */
  #seen: number;
  /** `used.idx` as last stored. */
  #published: number;
  /** Chains popped and not pushed. */
  #inFlight = 0;
  #stopped = false;

  /** @throws GuestFault when the rings are misaligned, of a size that is not allowed, or not in RAM */
  constructor(
    readonly layout: QueueLayout,
    memory: GuestMemory,
    { indirect, eventIdx }: QueueFeatures,
    state: QueueState = { nextAvail: 0, nextUsed: 0 },
  ) {
    checkLayout(layout);
    const { size, desc, avail, used } = layout;
    this.#memory = memory;
    this.#indirect = indirect;
    this.#eventIdx = eventIdx;
    this.#desc = viewOf(memory.slice(desc, descSize(size)));
    this.#avail = wordsOf(memory.slice(avail, availSize(size)));
    this.#used = viewOf(memory.slice(used, usedSize(size)));
    this.#used16 = wordsOf(memory.slice(used, usedSize(size)));
    this.#mask = size - 1;
    this.#nextAvail = this.#seen = state.nextAvail;
    this.#nextUsed = this.#published = state.nextUsed;
  }

  /** Position of a queue without chains in flight. */
  state(): QueueState {
    return { nextAvail: this.#nextAvail, nextUsed: this.#nextUsed };
  }

  /** Whether the driver took it back. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** From now on nothing of the queue is touched (§4.2.2.1, QueueReady 0): chains still in flight end in silence. */
  stop(): void {
    this.#stopped = true;
  }

  /**
   * Serves available chains in order and publishes them together. `serve` returns the bytes it wrote into `writable`.
   * @returns whether the driver wants an interrupt; `more` when the bound was reached: come back soon
   */
  drain(serve: (chain: Chain) => number): { readonly interrupt: boolean; readonly more: boolean } {
    const more = this.each((chain) => this.push(chain, serve(chain)));
    return { interrupt: this.publish(), more };
  }

  /**
   * Hands out available chains until there is none and the driver was told to kick for the next, for devices that push
   * later. @returns true when the bound was reached: come back soon
   */
  each(serve: (chain: Chain) => void): boolean {
    let budget = this.layout.size;
    do {
      for (; budget > 0; budget -= 1) {
        const chain = this.pop();
        if (!chain) break;
        serve(chain);
      }
    } while (budget > 0 && this.rearm());
    return budget === 0;
  }

  /** The next available chain, or undefined. @throws GuestFault */
  pop(): Chain | undefined {
    if (this.#stopped || (this.#nextAvail === this.#seen && !this.#look())) return undefined;
    // A driver that gives the same descriptors out again and again would make the host's memory the limit.
    if (this.#inFlight >= this.layout.size) {
      throw new GuestFault(`more than ${this.layout.size} chains in flight`, 'virtio 1.2 §2.7.13.1');
    }
    const head = this.#avail[ENTRIES + (this.#nextAvail & this.#mask)]!;
    const chain = this.#walk(head);
    this.#nextAvail = wrap16(this.#nextAvail + 1);
    this.#inFlight += 1;
    return chain;
  }

  /** Takes the last chain popped back: it is the next again. For a device that cannot serve it now. */
  unpop(): void {
    this.#nextAvail = wrap16(this.#nextAvail - 1);
    this.#inFlight -= 1;
  }

  /** Puts a served chain into the used ring; the driver sees it after `publish()`. @param written bytes (§2.7.8) */
  push({ head }: Pick<Chain, 'head'>, written: number): void {
    if (this.#stopped) return;
    const at = USED.RING + USED.ELEMENT_SIZE * (this.#nextUsed & this.#mask);
    this.#used.setUint32(at, head, true);
    this.#used.setUint32(at + 4, written, true);
    this.#nextUsed = wrap16(this.#nextUsed + 1);
    this.#inFlight -= 1;
  }

  /** Shows the driver everything pushed. @returns whether it wants an interrupt for it (§2.7.7) */
  publish(): boolean {
    const before = this.#published;
    const after = this.#nextUsed;
    if (before === after || this.#stopped) return false;
    // Release: the elements are visible before the index. Full fence: the driver's flags are read after it is.
    Atomics.store(this.#used16, IDX, after);
    this.#published = after;
    if (!this.#eventIdx) return (Atomics.load(this.#avail, 0) & AVAIL_F_NO_INTERRUPT) === 0;
    // An interrupt if used_event lies in [before, after), counted modulo 2^16.
    const usedEvent = Atomics.load(this.#avail, ENTRIES + this.layout.size);
    return wrap16(after - usedEvent - 1) < wrap16(after - before);
  }

  /** Asks for a kick on the next buffer (§2.7.10). @returns true if one slipped in and must be served first */
  rearm(): boolean {
    if (this.#stopped) return false;
    // Full fence: the event index is visible before we look once more; the driver stores idx, then reads the event.
    if (this.#eventIdx) Atomics.store(this.#used16, ENTRIES + 4 * this.layout.size, this.#nextAvail);
    return this.#look();
  }

  /** Reads avail.idx. @returns whether chains are available */
  #look(): boolean {
    if (this.#stopped) return false;
    const idx = Atomics.load(this.#avail, IDX); // acquire: ring entries and descriptors before it are visible
    const pending = wrap16(idx - this.#nextAvail);
    if (pending > this.layout.size) {
      throw new GuestFault(
        `avail.idx is ${pending} ahead in a queue of ${this.layout.size}`,
        'virtio 1.2 §2.7.6',
      );
    }
    this.#seen = idx;
    return pending > 0;
  }

  #walk(head: number): Chain {
    const { size } = this.layout;
    const readable: Uint8Array[] = [];
    const writable: Uint8Array[] = [];
    let table = this.#desc;
    let limit = size; // entries of the table being walked
    let inIndirect = false;
    let bytes = 0;

    for (let index = head, steps = 0; ; steps += 1) {
      if (index >= limit) throw new GuestFault(`descriptor ${index} of ${limit}`, 'virtio 1.2 §2.7.5');
      if (steps > size)
        throw new GuestFault('descriptor chain is longer than its queue', 'virtio 1.2 §2.7.5.2');
      const at = DESC.SIZE * index;
      const low = table.getUint32(at + DESC.ADDR, true);
      const high = table.getUint32(at + DESC.ADDR + 4, true);
      const length = table.getUint32(at + DESC.LEN, true);
      const flags = table.getUint16(at + DESC.FLAGS, true);
      const next = table.getUint16(at + DESC.NEXT, true);
      // Beyond 52 bits a double is not exact, and no guest-physical address is.
      if (high >= 2 ** 20) throw new GuestFault('buffer address above 52 bits', 'SDM vol. 3 §4.1.4');
      const addr = gpa(high * 2 ** 32 + low);

      if (flags & DESC_F.INDIRECT) {
        // §2.7.5.3.2: after any number of direct descriptors; its WRITE flag means nothing.
        if (!this.#indirect)
          throw new GuestFault('indirect descriptor not negotiated', 'virtio 1.2 §2.7.5.3.1');
        if (inIndirect)
          throw new GuestFault('indirect descriptor in an indirect table', 'virtio 1.2 §2.7.5.3.1');
        if (flags & DESC_F.NEXT)
          throw new GuestFault('indirect descriptor with a next', 'virtio 1.2 §2.7.5.3.1');
        if (length === 0 || length % DESC.SIZE !== 0 || length / DESC.SIZE > size) {
          throw new GuestFault(`indirect table of ${length} bytes`, 'virtio 1.2 §2.7.5.3.1');
        }
        table = viewOf(this.#memory.slice(addr, length));
        limit = length / DESC.SIZE;
        inIndirect = true;
        index = 0;
        continue;
      }
      bytes += length;
      if (bytes > MAX_CHAIN_BYTES)
        throw new GuestFault('chain of more than 2^32 bytes', 'virtio 1.2 §2.7.5.2');
      if (flags & DESC_F.WRITE) writable.push(this.#memory.slice(addr, length));
      else if (writable.length > 0) {
        throw new GuestFault('readable descriptor behind a writable one', 'virtio 1.2 §2.7.4.2');
      } else readable.push(this.#memory.slice(addr, length));
      if (!(flags & DESC_F.NEXT)) return { head, readable, writable };
      index = next;
    }
  }
}

function checkLayout({ size, desc, avail, used }: QueueLayout): void {
  if (size < 1 || size > MAX_QUEUE_SIZE || (size & (size - 1)) !== 0) {
    throw new GuestFault(`queue of ${size} entries`, 'virtio 1.2 §2.7');
  }
  if (desc % ALIGN.DESC || avail % ALIGN.AVAIL || used % ALIGN.USED) {
    throw new GuestFault('misaligned queue', 'virtio 1.2 §2.7');
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
/** Host and guest are little-endian: x86-64. */
const wordsOf = (bytes: Uint8Array): Uint16Array =>
  new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
