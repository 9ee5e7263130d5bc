/**
 * Who may send how much on one connection (virtio 1.2 §5.10.6.3). Either side has a buffer, says how large it is and how many bytes it
 * has taken out so far, and sends no more than the other has room for. Counts are modulo 2^32.
 *
 *  1. The guest may have `window` bytes at the host that nobody has consumed.
 *  2. The host believes the guest's account of its buffer; a guest that lies about it harms itself.
 *
 * Runs on: main.
 */
import type { PacketHeader } from './packet.js';

export class FlowControl {
  /** The guest's account of its buffer. */
  #guestAlloc = 0;
  #guestForwarded = 0;
  #sent = 0;
  #received = 0;
  #consumed = 0;
  /** `#consumed` as the guest was told last. */
  #told = 0;
  #asked = false;

  /** @param window bytes the guest may send ahead of its reader */
  constructor(private readonly window: number) {}

  /** Bytes the guest has room for, by its account. */
  get credit(): number {
    const onTheWay = (this.#sent - this.#guestForwarded) >>> 0;
    return Math.max(0, this.#guestAlloc - onTheWay);
  }

  /** The guest was asked for credit and has given none since. */
  get asked(): boolean {
    return this.#asked;
  }

  /** A packet of the guest says how its buffer is. */
  heard({ bufAlloc, fwdCnt }: Pick<PacketHeader, 'bufAlloc' | 'fwdCnt'>): void {
    this.#guestAlloc = bufAlloc;
    this.#guestForwarded = fwdCnt;
    if (this.credit > 0) this.#asked = false;
  }

  /** There is data and no credit. @returns whether to ask for some: once */
  ask(): boolean {
    if (this.#asked) return false;
    this.#asked = true;
    return true;
  }

  sent(bytes: number): void {
    this.#sent = (this.#sent + bytes) >>> 0;
  }

  mayReceive(bytes: number): boolean {
    return ((this.#received - this.#consumed) >>> 0) + bytes <= this.window;
  }

  received(bytes: number): void {
    this.#received = (this.#received + bytes) >>> 0;
  }

  /**
   * @returns whether the guest should be told: rarely enough to cost little, often enough that a guest whose data is being consumed
   *   never waits
   */
  consumed(bytes: number): boolean {
    this.#consumed = (this.#consumed + bytes) >>> 0;
    return (this.#consumed - this.#told) >>> 0 >= this.window / 4;
  }

  /** What every packet says about the host's buffer. */
  tell(): Pick<PacketHeader, 'bufAlloc' | 'fwdCnt'> {
    this.#told = this.#consumed;
    return { bufAlloc: this.window, fwdCnt: this.#consumed };
  }
}
