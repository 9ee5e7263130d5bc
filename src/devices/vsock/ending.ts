/**
 * How one connection ends in an orderly way: what either side has said by SHUTDOWN that it will not do any more (virtio 1.2 §5.10.6.5).
 * Runs on: main.
 */
import { SHUTDOWN } from './protocol.js';

export class Ending {
  /** The host sends no more than it has now. */
  hostEnded = false;
  /** The host wants nothing to do with it any more. */
  abandoned = false;
  /** What each side has said. */
  #host = 0;
  #guest = 0;

  get guestSendsNoMore(): boolean {
    return (this.#guest & SHUTDOWN.SEND) !== 0;
  }
  /** §5.10.6.5: the answer to it is RST. */
  get guestIsDone(): boolean {
    return this.#guest === SHUTDOWN.BOTH;
  }
  get hostIsDone(): boolean {
    return this.#host === SHUTDOWN.BOTH;
  }

  /** The guest has said it. @returns what is new */
  heard(flags: number): number {
    const news = flags & SHUTDOWN.BOTH & ~this.#guest;
    this.#guest |= news;
    return news;
  }

  /** What the host, without data to send, is to say next; 0 for none. Once both sides send no more, nobody receives either. */
  get due(): number {
    if (!this.hostEnded) return 0;
    const both = this.abandoned || this.guestSendsNoMore;
    return (both ? SHUTDOWN.BOTH : SHUTDOWN.SEND) & ~this.#host;
  }

  /** The host says what is due. @returns everything it has said */
  tell(): number {
    this.#host |= this.due;
    return this.#host;
  }
}
