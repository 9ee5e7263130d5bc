/**
 * A receive queue (virtio 1.2 §5.1.6.3 and §5.1.6.4): frames go straight into the driver's buffers, several for one frame with
 * MRG_RXBUF. How large the next frame is may not be known before it is there, so behind the buffers lies one of our own, and
 * what is in it afterwards is copied to buffers that are taken then.
 *
 * Chains that were taken and not needed are held for the next frame. Frames wait in the back end while there are none.
 * Runs on: main.
 */
import type { Chain } from '../../virtio/queue.js';
import { gather, lengthOf, scatter } from '../pieces.js';
import { Pacer } from './pacer.js';
import { MAX_TURN_BYTES, MAX_TURN_FRAMES, type NetPort, type PortQueue } from './port.js';
import { ADDRESS, ETHERNET, F, GSO, HEADER, MAX_FRAME, VLAN_TAG } from './protocol.js';

interface Held {
  readonly chain: Chain;
  readonly size: number; // bytes
}

/** What is looked at of every frame, bytes: the header, and to whom it goes. */
const HEAD = HEADER.SIZE + ADDRESS;

export class Receiver {
  readonly #mergeable: boolean;
  readonly #held: Held[] = [];
  /** Bytes that the chains held have room for. */
  #capacity = 0;
  /** Buffers of the chains held, in order. */
  readonly #pieces: Uint8Array[] = [];
  #bounce: Uint8Array | undefined;
  /** Bytes of a frame that fills all chains held, and the bounce buffer as far as they do not reach. */
  #unfinished = 0;
  /** Bytes of `#unfinished` that lie in the chains. */
  #placed = 0;
  /** The byte of it that lies first in the bounce buffer. */
  #bounceStart = 0;
  /** Frames may wait in the back end. */
  #readable = true;
  #pumping = false;
  readonly #pacer: Pacer;

  constructor(
    private readonly port: NetPort,
    private readonly own: PortQueue,
  ) {
    this.#mergeable = (port.session.features & F.MRG_RXBUF) !== 0n;
    this.#pacer = new Pacer(port.rxLimiter, port.session, () => this.pump());
  }

  /** The back end has frames. */
  readable(): void {
    this.#readable = true;
    this.pump();
  }

  /** Takes frames as long as there are some, and buffers for them. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      this.#pump();
    } finally {
      this.#pumping = false;
    }
    this.#show();
  }

  stop(): void {
    this.#pacer.stop();
  }

  /** Shows the driver what was delivered. */
  #show(): void {
    if (this.own.queue.publish()) this.port.session.interrupt();
  }

  #pump(): void {
    const { backend, session } = this.port;
    const { pair, index } = this.own;
    let bytes = 0;
    for (let frames = 0; this.#readable; frames += 1) {
      if (frames >= MAX_TURN_FRAMES || bytes >= MAX_TURN_BYTES) {
        session.kickLater(index);
        return;
      }
      if (this.#unfinished > 0) {
        if (!this.#finish()) return;
        continue;
      }
      if (this.#pacer.mustWait() || !this.#hold(backend.expected(pair))) return;
      const length = this.#receive();
      if (length === 0) this.#readable = false;
      else this.#take(length);
      bytes += length;
      // Most often it is the only one, and the guest need not wait for the look that says so.
      if (frames === 0) this.#show();
    }
  }

  #receive(): number {
    this.#bounce ??= new Uint8Array(HEADER.SIZE + MAX_FRAME);
    this.#pieces.push(this.#bounce);
    try {
      return this.port.backend.receive(this.own.pair, this.#pieces);
    } catch (error) {
      this.port.failed(error);
      return 0;
    } finally {
      this.#pieces.pop();
    }
  }

  /** Takes chains until there is room for `bytes`. @returns whether there is any */
  #hold(bytes: number): boolean {
    const { queue } = this.own;
    let broken = 0;
    while (this.#capacity < bytes && (this.#mergeable || this.#held.length === 0)) {
      const chain = queue.pop() ?? (queue.rearm() ? queue.pop() : undefined);
      if (!chain) break;
      const size = lengthOf(chain.writable);
      if (size < HEADER.SIZE || chain.readable.length > 0) {
        queue.push(chain, 0);
        this.port.stats.malformed += 1;
        broken += 1;
        if (broken < queue.layout.size) continue;
        this.port.session.kickLater(this.own.index);
        break;
      }
      this.#held.push({ chain, size });
      this.#capacity += size;
      for (const piece of chain.writable) this.#pieces.push(piece);
    }
    return this.#held.length > 0;
  }

  /** A frame lies in the buffers: keeps it or not. @param length bytes with header */
  #take(length: number): void {
    const { stats, filter } = this.port;
    this.#pacer.passed(length);
    const head = this.#head();
    if (length < HEADER.SIZE + ETHERNET || !this.port.linkUp() || this.#isTooLarge(length, head)) {
      stats.receiveDropped += 1;
    } else if (!filter.accepts(head, HEADER.SIZE)) stats.filtered += 1;
    else if (length > this.#capacity) {
      this.#placed = this.#bounceStart = this.#capacity;
      this.#unfinished = length;
    } else this.#deliver(length);
  }

  /** §5.1.4.1: with an MTU, frames beyond it must not be passed on unless they are to be cut. */
  #isTooLarge(length: number, head: Uint8Array): boolean {
    const { mtu } = this.port;
    const gso = head[HEADER.gso_type]! & ~GSO.ECN;
    return mtu !== undefined && gso === GSO.NONE && length > HEADER.SIZE + ETHERNET + VLAN_TAG + mtu;
  }

  /** Goes on with a frame that needs more chains. @returns false when there are none */
  #finish(): boolean {
    const length = this.#unfinished;
    const before = this.#held.length;
    if (this.#mergeable) this.#hold(length);
    if (this.#capacity < length) {
      this.#copyRest(before);
      // Waiting for what cannot come would hold up all frames behind this one.
      if (this.#mergeable && this.#held.length < this.own.queue.layout.size) return false;
      this.port.stats.receiveDropped += 1;
    } else {
      this.#copyRest(before);
      this.#deliver(length);
    }
    this.#unfinished = 0;
    return true;
  }

  /** From the bounce buffer to chains that were taken since. */
  #copyRest(before: number): void {
    const pieces = this.#held.slice(before).flatMap(({ chain }) => chain.writable);
    const start = this.#bounceStart;
    const rest = this.#bounce!.subarray(this.#placed - start, this.#unfinished - start);
    this.#placed += scatter(pieces, rest);
  }

  /** §5.1.6.4.1: all buffers but the last are filled, and shown to the driver together. */
  #deliver(length: number): void {
    const { stats, guestOffloads } = this.port;
    let count = 0;
    for (let room = 0; room < length; count += 1) room += this.#held[count]!.size;
    let pieces = 0;
    const first = this.#held[0]!.chain.writable;
    // "the device MUST set flags to zero"; the kernel says DATA_VALID to everybody.
    if (!(guestOffloads() & F.GUEST_CSUM)) poke(first, HEADER.flags, 0);
    poke(first, HEADER.num_buffers, count & 0xff);
    poke(first, HEADER.num_buffers + 1, count >> 8);
    let left = length;
    for (let index = 0; index < count; index += 1) {
      const { chain, size } = this.#held[index]!;
      this.own.queue.push(chain, Math.min(left, size));
      left -= size;
      this.#capacity -= size;
      pieces += chain.writable.length;
    }
    drop(this.#held, count);
    drop(this.#pieces, pieces);
    stats.received += 1;
    stats.receivedBytes += length - HEADER.SIZE;
  }

  /** The first bytes received. They are in guest memory, where the guest may change them: to its own confusion only. */
  #head(): Uint8Array {
    const first = this.#pieces[0]!;
    return first.length >= HEAD ? first : gather([...this.#pieces, this.#bounce!], HEAD);
  }
}

/** Takes the first `count` away. */
function drop(list: unknown[], count: number): void {
  if (count === 1) list.shift();
  else list.splice(0, count);
}

/** Sets one byte of consecutive pieces. */
function poke(pieces: readonly Uint8Array[], at: number, value: number): void {
  let offset = at;
  for (const piece of pieces) {
    if (offset < piece.length) {
      piece[offset] = value;
      return;
    }
    offset -= piece.length;
  }
}
