/**
 * How much may be under way to the guest: slow start, congestion avoidance and fast recovery (RFC 5681), with NewReno's partial
 * acknowledgements (RFC 6582). On a virtual wire the only loss is a guest that has no room, but it may happen in bursts.
 * Runs on: main.
 */
import { before, notAfter } from './sequence.js';

/** RFC 6928: ten segments to begin with. */
const INITIAL_SEGMENTS = 10;
/** Repeated acknowledgements that mean a loss (RFC 5681 §3.2). */
const DUPLICATES = 3;
/** No guest has a larger window. */
const MAX_WINDOW = 2 ** 30;

export class Congestion {
  readonly #mss: number;
  /** Bytes that may be under way. */
  window: number;
  #threshold = MAX_WINDOW;
  #duplicates = 0;
  /** While recovering from a loss: the highest sequence number sent when it was noticed. */
  #recover: number | undefined;
  /** After a timeout: what was sent before it comes twice, and repeated acknowledgements of that mean no loss (RFC 6582 §4). */
  #suspectUntil: number | undefined;

  constructor(mss: number) {
    this.#mss = mss;
    this.window = INITIAL_SEGMENTS * mss;
  }

  get recovering(): boolean {
    return this.#recover !== undefined;
  }

  /**
   * New data was acknowledged.
   * @param una the first byte that is not
   * @returns whether the segment there is lost too and is to be sent again now
   */
  acknowledged(bytes: number, una: number, inFlight: number): boolean {
    this.#duplicates = 0;
    if (this.#suspectUntil !== undefined && before(this.#suspectUntil, una)) this.#suspectUntil = undefined;
    if (this.#recover !== undefined) {
      if (notAfter(this.#recover, una)) {
        this.window = Math.min(this.#threshold, Math.max(inFlight, this.#mss) + this.#mss);
        this.#recover = undefined;
        return false;
      }
      this.window = Math.max(this.window - bytes, 0) + this.#mss;
      return true;
    }
    // Appropriate byte counting (RFC 3465): an answer to a burst counts for all of it.
    if (this.window < this.#threshold) this.window += bytes;
    else this.window += Math.max(1, Math.floor((this.#mss * bytes) / this.window));
    this.window = Math.min(this.window, MAX_WINDOW);
    return false;
  }

  /** An acknowledgement that says nothing new. @returns whether to send the first segment again now */
  duplicate(una: number, inFlight: number, highest: number): boolean {
    if (this.#suspectUntil !== undefined && notAfter(una, this.#suspectUntil)) return false;
    this.#duplicates += 1;
    if (this.#recover !== undefined) {
      this.window += this.#mss;
      return false;
    }
    if (this.#duplicates !== DUPLICATES) return false;
    this.#threshold = Math.max(inFlight / 2, 2 * this.#mss);
    this.#recover = highest;
    this.window = this.#threshold + DUPLICATES * this.#mss;
    return true;
  }

  /** The retransmission timer fired: begin again with one segment. */
  timedOut(inFlight: number, highest: number): void {
    this.#threshold = Math.max(inFlight / 2, 2 * this.#mss);
    this.window = this.#mss;
    this.#recover = undefined;
    this.#suspectUntil = highest;
    this.#duplicates = 0;
  }
}
