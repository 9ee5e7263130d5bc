/**
 * Makes a VnetBackend of a NetBackend: one queue pair, frames copied on their way. What leaves a guest has headers that may say
 * anything: what makes no sense is dropped here. What a network hands over and its guest cannot take, with checksums missing or to be
 * cut, is made complete here.
 * Runs on: main.
 */
import { gather, scatter, skip } from '../pieces.js';
import type { NetBackend, Sent, VnetBackend, VnetGuest, VnetHeader } from './backend.js';
import { isComplete, PLAIN, readHeader, writeHeader } from './header.js';
import { type Frame, finish, soundHeader, takes } from './offload.js';
import { ETHERNET, F, HEADER, MAX_FRAME } from './protocol.js';

/**
 * What a network with `offloads` makes possible. Not UFO and USO, which only a tap has: a network of plain frames would be handed datagrams
 * as large as the guest likes, to be cut here for a receiver that must take each by itself anyway.
 */
const OFFLOADS =
  F.CSUM | F.GUEST_CSUM | F.GUEST_TSO4 | F.GUEST_TSO6 | F.GUEST_ECN | F.HOST_TSO4 | F.HOST_TSO6 | F.HOST_ECN;

export class FrameLink implements VnetBackend {
  readonly pairs = 1;
  readonly offloads: bigint;
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
  readonly #network: NetBackend;
  #guest: VnetGuest | undefined;
  #guestOffloads = 0n;
  #open = false;
  /** Frames being handed to the guest: one, or the packets one was cut into. */
  #current: Frame[] = [];
  /** A frame was refused: the network waits to hear of room. */
  #refused = false;
  #asking = false;

  constructor(network: NetBackend) {
    this.#network = network;
    this.mac = network.mac;
    this.mtu = network.mtu;
    this.offloads = network.offloads ? OFFLOADS : 0n;
  }

  attach(guest: VnetGuest): void {
    this.#guest = guest;
    this.#network.onReceive((frame, header) => this.#take(frame, header));
    this.#network.onDrain?.(() => guest.writable(0));
  }

  setOffloads(features: bigint): void {
    this.#guestOffloads = features;
  }

  setPairs(pairs: number): void {
    this.#open = pairs > 0;
    // They were for a driver that is gone.
    if (!this.#open) this.#current = [];
  }

  send(_pair: number, pieces: readonly Uint8Array[]): Sent {
    const all = gather(pieces, HEADER.SIZE + MAX_FRAME);
    const bytes = all.subarray(HEADER.SIZE);
    const header = readHeader(all);
    if (!this.offloads) {
      // Nothing was offered that would allow it.
      if (!isComplete(header)) return 'dropped';
      return this.#network.send(bytes) === false ? 'full' : 'sent';
    }
    const sound = soundHeader({ bytes, header });
    if (!sound) return 'dropped';
    return this.#network.send(bytes, sound) === false ? 'full' : 'sent';
  }

  receive(_pair: number, into: readonly Uint8Array[]): number {
    if (this.#current.length === 0 && this.#refused) this.#ask();
    const frame = this.#current.shift();
    if (!frame) return 0;
    const { bytes, header } = frame;
    const length = HEADER.SIZE + bytes.length;
    const first = into[0]!;
    if (first.length >= length) {
      // As most do: there is nothing to take apart.
      writeHeader(header, first);
      first.set(bytes, HEADER.SIZE);
      return length;
    }
    scatter(into, writeHeader(header));
    return HEADER.SIZE + scatter(skip(into, HEADER.SIZE), bytes);
  }

  expected(): number {
    return HEADER.SIZE + (this.#current[0]?.bytes.length ?? ETHERNET);
  }

  async close(): Promise<void> {
    this.#open = false;
    await this.#network.close?.();
  }

  /** A frame for the guest. @returns whether it was taken */
  #take(bytes: Uint8Array, header: VnetHeader = PLAIN): boolean {
    if (!(bytes instanceof Uint8Array) || bytes.length < ETHERNET || bytes.length > MAX_FRAME) {
      throw new RangeError(`a frame of ${bytes?.length} bytes: ${ETHERNET} to ${MAX_FRAME} are allowed`);
    }
    const sound = soundHeader({ bytes, header });
    if (!sound) throw new RangeError('the header does not fit the frame');
    if (!this.#open || !this.#guest || this.#current.length > 0) {
      this.#refused = true;
      return false;
    }
    const asIs = takes(this.#guestOffloads, sound);
    // Within `room` the device waits for this very frame, and takes it when the network has returned; finishing changes it.
    const own = this.#asking || !asIs ? bytes.slice() : bytes;
    this.#current = asIs ? [{ bytes: own, header: sound }] : finish({ bytes: own, header: sound });
    if (this.#asking) return true;
    const count = this.#current.length;
    this.#guest.readable(0);
    // Of several packets the rest is kept: they are copies.
    if (this.#current.length < count || count > 1) return true;
    this.#current = [];
    this.#refused = true;
    return false;
  }

  /** There is room: the network may hand over what was refused. */
  #ask(): void {
    this.#refused = false;
    this.#asking = true;
    try {
      this.#network.room?.();
    } finally {
      this.#asking = false;
    }
  }
}
