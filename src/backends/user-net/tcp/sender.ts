/**
 * The half of a connection that brings data to the guest: what is unacknowledged, what may be sent now, and when to send again.
 * After a timeout it goes back to the first unacknowledged byte. A closed window is probed for as long as the guest answers.
 * There is no scoreboard of what the guest has behind a gap (RFC 6675): a guest without room is known at once and nothing is sent, so
 * that the only losses are those of the guest's own making, and NewReno mends them.
 * Runs on: main.
 */
import { type Clock, LazyTimer } from '../clock.js';
import { type Allowance, Grant } from './allowance.js';
import { ByteQueue } from './byte-queue.js';
import { Congestion } from './congestion.js';
import { RoundTrip } from './round-trip.js';
import { add, before, distance, notAfter } from './sequence.js';

/** Bytes kept for a guest: at first, and for one that takes them fast. */
const LEAST = 2 ** 16;
const MOST = 2 ** 20;
/** Timeouts in a row without an answer; with their growing times more than 100 s, as RFC 9293 §3.8.3 wants. */
const MAX_TIMEOUTS = 10;
/** Of an opening, where nobody may be listening. */
const MAX_OPENINGS = 6;

/** One segment to be sent. */
export interface Transmission {
  readonly seq: number;
  /** Where its data is in the queue, and how much. */
  readonly offset: number;
  readonly length: number;
  readonly syn: boolean;
  readonly fin: boolean;
  /** The last of what there is. */
  readonly push: boolean;
}

export interface SenderHost {
  /** Most data of one transmission: the MSS, or more where the guest's card cuts it. */
  burstOf(mss: number): number;
  /** @returns false when the guest has no room; `output` is then called when it has */
  transmit(segment: Transmission): boolean;
  /** Room was made in the queue. */
  drained(): void;
  /** The guest does not answer. */
  failed(): void;
}

export class Sender {
  /** SND.UNA, SND.NXT, and the highest SND.NXT ever. */
  una: number;
  nxt: number;
  #max: number;
  /** SND.WND, bytes. */
  window = 0;
  readonly #iss: number;
  readonly #host: SenderHost;
  readonly #clock: Clock;
  readonly #data = new ByteQueue();
  readonly #grant: Grant;
  readonly #roundTrip = new RoundTrip();
  readonly #timer: LazyTimer;
  #congestion = new Congestion(536);
  #mss = 536;
  #burst = 536;
  #largestWindow = 0;
  #windowSeq = 0;
  #windowAck = 0;
  #fin = false;
  #finAcked = false;
  #timeouts = 0;
  /** The guest had no room for the last segment: its silence means nothing. */
  #blocked = false;
  /** A segment that is timed: acknowledged when `seq` is. */
  #timed: { seq: number; at: number } | undefined;

  constructor(clock: Clock, pool: Allowance, iss: number, host: SenderHost) {
    this.#clock = clock;
    this.#host = host;
    this.#iss = iss;
    this.una = this.nxt = this.#max = iss;
    this.#grant = new Grant(pool, LEAST, MOST);
    this.#timer = new LazyTimer(clock, () => this.#timeout());
  }

  get mss(): number {
    return this.#mss;
  }

  set mss(bytes: number) {
    this.#mss = bytes;
    this.#burst = this.#host.burstOf(bytes);
    this.#congestion = new Congestion(bytes);
  }

  /** Bytes that may be written before it is full. */
  get room(): number {
    return Math.max(this.#grant.size - this.#data.length, 0);
  }

  /** Bytes that wait for the guest. */
  get queued(): number {
    return this.#data.length;
  }

  get synAcked(): boolean {
    return this.una !== this.#iss;
  }

  /** Our FIN was sent and acknowledged. */
  get finished(): boolean {
    return this.#finAcked;
  }

  /** The sequence number of the first byte in the queue: past the SYN until that is acknowledged. */
  get #base(): number {
    return this.synAcked ? this.una : add(this.#iss, 1);
  }

  copy(offset: number, into: Uint8Array): void {
    this.#data.copy(offset, into);
  }

  /** Sends SYN, or SYN and ACK. */
  open(): void {
    this.nxt = this.#max = add(this.#iss, 1);
    this.#timed = { seq: this.nxt, at: this.#clock.now() };
    this.#sendSyn();
    this.#timer.set(this.#roundTrip.timeout);
  }

  /** Queues data that may be kept; `room` is advice, not a limit. */
  write(bytes: Uint8Array): void {
    this.#data.push(bytes);
    this.output();
  }

  /** After what is queued comes the end. */
  end(): void {
    this.#fin = true;
    this.output();
  }

  /** Whether an acknowledgement is for something that was sent. */
  wasSent(ack: number): boolean {
    return notAfter(ack, this.#max);
  }

  /** Takes an acknowledgement that `wasSent`, and the window with it. @param bare the segment has nothing else to say */
  acknowledge(ack: number, window: number, seq: number, bare: boolean): void {
    const sameWindow = window === this.window;
    if (before(this.#windowSeq, seq) || (this.#windowSeq === seq && notAfter(this.#windowAck, ack))) {
      this.#setWindow(window, seq, ack);
    }
    if (before(this.una, ack)) this.#advance(ack);
    else if (ack === this.una && this.synAcked) {
      if (this.window === 0) this.#timeouts = 0; // closed, but there
      const inFlight = this.#inFlight;
      if (bare && sameWindow && inFlight > 0 && this.window > 0) {
        if (this.#congestion.duplicate(ack, inFlight, this.#max)) this.#resendFirst();
      }
    }
    this.output();
  }

  /** The window of a SYN, which is never scaled, or of the first acknowledgement. */
  #setWindow(window: number, seq: number, ack: number): void {
    const wasClosed = this.window === 0;
    this.window = window;
    this.#windowSeq = seq;
    this.#windowAck = ack;
    this.#largestWindow = Math.max(this.#largestWindow, window);
    // What was sent as a probe went for nothing: the guest would wait for the timer.
    if (!wasClosed || window === 0 || !this.synAcked) return;
    this.nxt = this.una;
    this.#timed = undefined;
  }

  initialWindow(window: number, seq: number, ack: number): void {
    this.#setWindow(window, seq, ack);
  }

  /** Sends what may be sent. Called whenever something changed that could allow more. */
  output(): void {
    if (!this.synAcked) return;
    while (this.#sendNext());
    if (this.#inFlight > 0 || this.#isWaiting) {
      if (!this.#timer.isSet) this.#timer.set(this.#roundTrip.timeout);
    } else this.#timer.clear();
  }

  release(): void {
    this.#timer.stop();
    this.#data.takeAll();
    this.#grant.release();
  }

  get #inFlight(): number {
    return distance(this.una, this.nxt);
  }

  /** Something is to be sent that has not been. */
  get #isWaiting(): boolean {
    const offset = distance(this.una, this.nxt);
    return offset < this.#data.length || (this.#fin && !this.#finAcked && offset === this.#data.length);
  }

  /** @returns whether something was sent, so that more may follow */
  #sendNext(): boolean {
    if (!this.#isWaiting) return false;
    const offset = distance(this.una, this.nxt);
    const unsent = this.#data.length - offset;
    const usable = Math.min(this.window, this.#congestion.window) - offset;
    let length = Math.min(unsent, usable, this.#burst);
    if (length < unsent) {
      if (length <= 0) return false;
      // Whole segments; or, to a guest whose windows are all small, what is a good part of one (RFC 9293 §3.8.6.2.1).
      if (length >= this.#mss) length -= length % this.#mss;
      else if (length < this.#largestWindow / 2 || offset > 0) return false;
    }
    const fin = this.#fin && length === unsent && this.window - offset > length;
    if (length === 0 && !fin) return false;
    return this.#send(this.nxt, length, fin);
  }

  #send(seq: number, length: number, fin: boolean): boolean {
    const offset = distance(this.una, seq);
    const push = offset + length === this.#data.length;
    this.#blocked = !this.#host.transmit({ seq, offset, length, syn: false, fin, push });
    if (this.#blocked) return false;
    const end = add(seq, length + (fin ? 1 : 0));
    if (before(this.nxt, end)) this.nxt = end;
    if (before(this.#max, end)) {
      this.#timed ??= { seq: end, at: this.#clock.now() };
      this.#max = end;
    }
    return true;
  }

  #sendSyn(): void {
    this.#host.transmit({ seq: this.#iss, offset: 0, length: 0, syn: true, fin: false, push: false });
  }

  #advance(ack: number): void {
    const data = Math.min(distance(this.#base, ack), this.#data.length);
    if (this.#fin && distance(this.#base, ack) > this.#data.length) this.#finAcked = true;
    const wasFull = this.room === 0;
    this.una = ack;
    if (before(this.nxt, ack)) this.nxt = ack;
    this.#data.drop(data);
    this.#timeouts = 0;
    this.#roundTrip.restore();
    if (this.#timed && notAfter(this.#timed.seq, ack)) {
      this.#roundTrip.measured(this.#clock.now() - this.#timed.at);
      this.#timed = undefined;
    }
    this.#timer.clear();
    if (this.#congestion.acknowledged(data, ack, this.#inFlight)) this.#resendFirst();
    if (this.#inFlight > 0) this.#timer.set(this.#roundTrip.timeout);
    if (data === 0) return;
    // The host could have had more under way than it was allowed to.
    if (wasFull) this.#grant.grow();
    if (this.#data.length <= this.#grant.size / 2) this.#host.drained();
  }

  /** Sends the first unacknowledged segment again. */
  #resendFirst(): void {
    this.#timed = undefined;
    const length = Math.min(this.#mss, this.#data.length);
    const fin = this.#fin && length === this.#data.length;
    if (length > 0 || fin) this.#send(this.una, length, fin);
  }

  #timeout(): void {
    if (this.#blocked) {
      this.output();
      return;
    }
    this.#timeouts += 1;
    const most = this.synAcked ? MAX_TIMEOUTS : MAX_OPENINGS;
    if (this.#timeouts > most) {
      this.#host.failed();
      return;
    }
    this.#roundTrip.backOff();
    this.#timed = undefined;
    if (!this.synAcked) this.#sendSyn();
    else if (this.window === 0) {
      // A probe (§3.8.6.1): one byte that the window does not allow, or the end.
      const length = Math.min(1, this.#data.length);
      this.nxt = this.una;
      this.#send(this.una, length, length === 0 && this.#fin);
    } else {
      if (this.#inFlight > 0) this.#congestion.timedOut(this.#inFlight, this.#max);
      this.nxt = this.una;
      // A window too small for a segment is used after this wait all the same.
      if (!this.#sendNext()) this.#send(this.una, Math.min(this.window, this.#mss, this.#data.length), false);
      this.output();
    }
    this.#timer.set(this.#roundTrip.timeout);
  }
}
