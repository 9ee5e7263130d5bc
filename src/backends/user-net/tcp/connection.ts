/**
 * One TCP connection with the guest: the states of RFC 9293 §3.3.2 and what each does with a segment (§3.10.7), with the answers
 * to blind attacks of RFC 5961. What moves data is in sender.ts and receiver.ts.
 *
 * One thing differs from a textbook: a guest's SYN is answered only when `accept` is called, after the host's side is there. A
 * guest so sees "refused" or "unreachable" as if it had the host's own network.
 * Runs on: main.
 */
import type { Address } from '../address.js';
import { type Clock, LazyTimer } from '../clock.js';
import type { Allowance } from './allowance.js';
import { Receiver, WINDOW_SHIFT } from './receiver.js';
import { DEFAULT_MSS, FLAG, has, type Segment, type SegmentHeader, spaceOf } from './segment.js';
import { Sender, type Transmission } from './sender.js';
import { add, before } from './sequence.js';

export type TcpState =
  | 'listen' // the guest's SYN came; not answered yet
  | 'syn-sent'
  | 'syn-received'
  | 'established'
  | 'fin-wait-1'
  | 'fin-wait-2'
  | 'close-wait'
  | 'closing'
  | 'last-ack'
  | 'time-wait'
  | 'closed';

/** The two ends. */
export interface TcpPath {
  readonly guest: Address;
  readonly guestPort: number;
  readonly remote: Address;
  readonly remotePort: number;
}

/** What a connection does for whoever uses it: a socket of the host, as a rule. */
export interface TcpUser {
  established(): void;
  /** Data in order, which may be kept. `pending` counts it until it is gone, and `consumed` tells that. */
  data(bytes: Uint8Array): void;
  readonly pending: number;
  /** The guest has ended its side. */
  ended(): void;
  /** There is room for more again. */
  drained(): void;
  /** It is over, nothing more is called: both sides ended, or one of them cut it, or the guest does not answer. */
  closed(how: 'ended' | 'reset' | 'timeout'): void;
}

/** What a connection needs from its network. */
export interface TcpHost {
  readonly clock: Clock;
  readonly pool: Allowance;
  /** Largest segment that the link carries to this guest's address. */
  mssOf(guest: Address): number;
  /** Most data that one transmission may have; the guest's card cuts it. */
  burstOf(mss: number): number;
  /** @returns false when the guest has no room: `resume` is called when it has */
  transmit(connection: Connection, header: SegmentHeader, offset: number, length: number): boolean;
  /** It is in no table any more; with `time-wait` a rest of it stays behind. */
  closed(connection: Connection): void;
}

/** Time without a word after which the guest is asked whether it is there, between questions, and how many (§3.8.4). */
const KEEP_ALIVE_MS = 2 * 3600 * 1000;
const KEEP_ALIVE_EVERY_MS = 75_000;
const KEEP_ALIVE_PROBES = 9;
/** How often a segment outside of the window that carries nothing is answered (RFC 5961 §10, as Linux has it). */
const ANSWER_EVERY_MS = 500;

/** Made by `fromGuest` for a guest's SYN, or by `toGuest`. */
export class Connection {
  state: TcpState = 'closed';
  user: TcpUser | undefined;
  readonly path: TcpPath;
  readonly sender: Sender;
  readonly #host: TcpHost;
  readonly #idle: LazyTimer;
  /** There is none before the guest's SYN. */
  #receiver: Receiver | undefined;
  #probes = 0;
  /** The guest's window scale; undefined while scales are not in use. */
  #scale: number | undefined;
  #ending = false;
  /** When a segment outside of the window that carries nothing was answered last. */
  #lastAnswer = Number.NEGATIVE_INFINITY;
  /** An acknowledgement is due: at once if the guest had no room for it, else when all that came with one kick is read. */
  #ackDue = false;
  #ackScheduled = false;

  private constructor(host: TcpHost, path: TcpPath, iss: number) {
    this.#host = host;
    this.path = path;
    this.sender = new Sender(host.clock, host.pool, iss, {
      burstOf: (mss) => host.burstOf(mss),
      transmit: (segment) => this.#transmit(segment),
      drained: () => this.user?.drained(),
      failed: () => this.#cut('timeout'),
    });
    this.#idle = new LazyTimer(host.clock, () => this.#askAlive());
  }

  /** The guest asked for it. It gets no answer before `accept` or `abort`. @param iss our initial sequence number */
  static fromGuest(host: TcpHost, path: TcpPath, iss: number, syn: Segment): Connection {
    const connection = new Connection(host, path, iss);
    connection.state = 'listen';
    connection.#synReceived(syn);
    return connection;
  }

  /** Asks the guest for it; `user` hears how that ends. */
  static toGuest(host: TcpHost, path: TcpPath, iss: number, user: TcpUser): Connection {
    const connection = new Connection(host, path, iss);
    connection.user = user;
    connection.state = 'syn-sent';
    connection.sender.open();
    return connection;
  }

  /** The sequence numbers that an answer needs after this connection's end. */
  get next(): { readonly seq: number; readonly ack: number } {
    return { seq: this.sender.nxt, ack: this.#receiver?.next ?? 0 };
  }

  /** Bytes from the guest that wait for what precedes them. */
  get early(): number {
    return this.#receiver?.early ?? 0;
  }

  /** Answers the guest's SYN. */
  accept(user: TcpUser): void {
    if (this.state !== 'listen') return;
    this.user = user;
    this.state = 'syn-received';
    this.sender.open();
  }

  /** Sends data, which may be kept. It is for the caller to mind `sender.room`. */
  write(bytes: Uint8Array): void {
    if (this.state !== 'closed' && !this.#ending) this.sender.write(bytes);
  }

  /** Ends our side after what was written. */
  end(): void {
    if (this.state === 'closed' || this.#ending) return;
    this.#ending = true;
    this.#enterFinWait();
    this.sender.end();
  }

  /** Cuts the connection: the guest gets a RST. No more is heard of it. */
  abort(): void {
    if (this.state === 'closed') return;
    this.user = undefined;
    this.#cut('reset');
  }

  /** Some of `user.pending` is gone. */
  consumed(): void {
    if (this.#receiver?.shouldTell(this.user?.pending ?? 0) && this.#isOpen) this.#acknowledge();
  }

  /** The guest has room for frames again. */
  resume(): void {
    if (this.state === 'closed') return;
    if (this.#ackDue && !this.#ackScheduled) this.#acknowledge();
    this.sender.output();
  }

  receive(segment: Segment): void {
    this.#probes = 0;
    switch (this.state) {
      case 'closed':
        return;
      case 'listen':
        if (has(segment, FLAG.RST) && segment.seq === this.#receiver!.next) this.#finish('reset');
        return;
      case 'syn-sent':
        this.#receiveInSynSent(segment);
        return;
      default:
        this.#idle.set(KEEP_ALIVE_MS);
        this.#receiveSynchronised(segment, this.#receiver!);
        return;
    }
  }

  get #isOpen(): boolean {
    return this.state !== 'closed' && this.state !== 'listen' && this.state !== 'syn-sent';
  }

  #synReceived(syn: Segment): void {
    const v6 = this.path.guest.length === 16;
    const receiver = new Receiver(this.#host.pool, syn.seq);
    this.#receiver = receiver;
    this.#scale = syn.windowScale;
    if (this.#scale !== undefined) receiver.shift = WINDOW_SHIFT;
    const theirs = syn.mss ?? (v6 ? DEFAULT_MSS.v6 : DEFAULT_MSS.v4);
    // A guest that offers next to nothing would make us send a segment for every few bytes.
    this.sender.mss = Math.max(64, Math.min(theirs, this.#host.mssOf(this.path.guest)));
    this.sender.initialWindow(syn.window, syn.seq, syn.ack);
  }

  /** §3.10.7.3 */
  #receiveInSynSent(segment: Segment): void {
    const acks = has(segment, FLAG.ACK);
    if (acks && (!before(this.sender.una, segment.ack) || !this.sender.wasSent(segment.ack))) {
      if (!has(segment, FLAG.RST)) this.#send(FLAG.RST, segment.ack);
      return;
    }
    if (has(segment, FLAG.RST)) {
      if (acks) this.#finish('reset');
      return;
    }
    if (!has(segment, FLAG.SYN)) return;
    this.#synReceived(segment);
    if (acks) {
      this.#establish(segment, segment.window);
      this.#acknowledge();
    } else {
      this.state = 'syn-received'; // both opened at once
      this.sender.open();
    }
  }

  /** §3.10.7.4, in its order */
  #receiveSynchronised(segment: Segment, receiver: Receiver): void {
    const { seq, ack, data } = segment;
    if (!receiver.accepts(seq, spaceOf(segment))) {
      this.#receiveOutside(segment, receiver);
      return;
    }
    if (has(segment, FLAG.RST)) {
      if (seq === receiver.next) this.#finish('reset');
      else this.#acknowledge(); // RFC 5961 §3.2
      return;
    }
    if (has(segment, FLAG.SYN)) {
      this.#acknowledge(); // RFC 5961 §4.2
      return;
    }
    if (!has(segment, FLAG.ACK)) return;
    const window = segment.window << (this.#scale ?? 0);
    if (this.state === 'syn-received') {
      if (!before(this.sender.una, ack) || !this.sender.wasSent(ack)) {
        this.#send(FLAG.RST, ack);
        return;
      }
      this.#establish(segment, window);
    } else {
      if (!this.sender.wasSent(ack)) {
        this.#acknowledge();
        return;
      }
      this.sender.acknowledge(ack, window, seq, data.length === 0 && !has(segment, FLAG.FIN));
    }
    if (this.sender.finished && this.#finAcknowledged()) return;
    if ((data.length > 0 || has(segment, FLAG.FIN)) && !receiver.ended) this.#takeData(segment, receiver);
  }

  /** A segment that is not acceptable: an old one, a keep-alive, or a probe of a closed window. */
  #receiveOutside(segment: Segment, receiver: Receiver): void {
    if (has(segment, FLAG.RST)) return;
    if (this.state === 'syn-received') {
      if (has(segment, FLAG.SYN)) this.sender.open(); // our answer was lost
      return;
    }
    const { ack, seq, window } = segment;
    if (has(segment, FLAG.ACK) && receiver.isAtEdge(seq) && this.sender.wasSent(ack)) {
      this.sender.acknowledge(ack, window << (this.#scale ?? 0), seq, false);
      if (this.sender.finished && this.#finAcknowledged()) return;
    }
    // Two ends that disagree would answer each other's answers for ever.
    const now = this.#host.clock.now();
    if (spaceOf(segment) === 0 && now - this.#lastAnswer < ANSWER_EVERY_MS) return;
    this.#lastAnswer = now;
    this.#acknowledge();
  }

  #establish({ ack, seq }: Segment, window: number): void {
    this.state = 'established';
    this.#idle.set(KEEP_ALIVE_MS);
    this.sender.acknowledge(ack, window, seq, false);
    this.user?.established();
    if (this.#ending) this.#enterFinWait();
  }

  #takeData(segment: Segment, receiver: Receiver): void {
    const hadGap = receiver.hasGap;
    receiver.take(segment.seq, segment.data, has(segment, FLAG.FIN), (bytes) => this.user?.data(bytes));
    if (this.#isClosed()) return;
    if (receiver.ended) this.#finReceived();
    else if (hadGap || receiver.hasGap)
      this.#acknowledge(); // at once: it tells of a loss, or of its repair
    else this.#acknowledgeSoon();
  }

  /** A user may have cut it meanwhile, which the compiler cannot know. */
  #isClosed(): boolean {
    return this.state === 'closed';
  }

  #enterFinWait(): void {
    if (this.state === 'established') this.state = 'fin-wait-1';
    else if (this.state === 'close-wait') this.state = 'last-ack';
  }

  /** @returns whether that was the end */
  #finAcknowledged(): boolean {
    if (this.state === 'fin-wait-1') this.state = 'fin-wait-2';
    else if (this.state === 'last-ack') this.#finish('ended');
    else if (this.state === 'closing') this.#finish('ended', 'time-wait');
    return this.state === 'closed' || this.state === 'time-wait';
  }

  #finReceived(): void {
    this.#acknowledge();
    const over = this.state === 'fin-wait-2';
    if (this.state === 'established') this.state = 'close-wait';
    else if (this.state === 'fin-wait-1') this.state = 'closing';
    this.user?.ended();
    if (over && !this.#isClosed()) this.#finish('ended', 'time-wait');
  }

  #acknowledgeSoon(): void {
    this.#ackDue = true;
    if (this.#ackScheduled) return;
    this.#ackScheduled = true;
    this.#host.clock.soon(() => {
      this.#ackScheduled = false;
      if (this.#ackDue && this.#isOpen) this.#acknowledge();
    });
  }

  #acknowledge(): void {
    this.#ackDue = !this.#send(FLAG.ACK, this.sender.nxt);
  }

  #transmit({ seq, offset, length, syn, fin, push }: Transmission): boolean {
    const acks = this.#receiver ? FLAG.ACK : 0;
    const flags = acks | (syn ? FLAG.SYN : 0) | (fin ? FLAG.FIN : 0) | (push && length > 0 ? FLAG.PSH : 0);
    return this.#send(flags, seq, offset, length);
  }

  #send(flags: number, seq: number, offset = 0, length = 0): boolean {
    const { path } = this;
    const syn = (flags & FLAG.SYN) !== 0;
    const pending = this.user?.pending ?? 0;
    const scales = syn && (this.#receiver ? this.#scale !== undefined : true);
    const header: SegmentHeader = {
      sourcePort: path.remotePort,
      destinationPort: path.guestPort,
      seq,
      ack: flags & FLAG.ACK ? (this.#receiver?.next ?? 0) : 0,
      flags,
      window: (syn ? this.#receiver?.offerFirst() : this.#receiver?.offer(pending)) ?? 0xffff,
      mss: syn ? this.#host.mssOf(path.guest) : undefined,
      windowScale: scales ? WINDOW_SHIFT : undefined,
    };
    const sent = this.#host.transmit(this, header, offset, length);
    if (sent && flags & FLAG.ACK) this.#ackDue = false;
    return sent;
  }

  /** Two hours without a word. The question is a segment that the guest has acknowledged already. */
  #askAlive(): void {
    this.#probes += 1;
    if (this.#probes > KEEP_ALIVE_PROBES) {
      this.#cut('timeout');
      return;
    }
    this.#send(FLAG.ACK, add(this.sender.una, -1));
    this.#idle.set(KEEP_ALIVE_EVERY_MS);
  }

  #cut(how: 'reset' | 'timeout'): void {
    this.#send(FLAG.RST | FLAG.ACK, this.sender.nxt);
    this.#finish(how);
  }

  #finish(how: 'ended' | 'reset' | 'timeout', state: 'closed' | 'time-wait' = 'closed'): void {
    const { user } = this;
    this.state = state;
    this.#idle.stop();
    this.sender.release();
    this.#receiver?.release();
    this.#host.closed(this);
    this.state = 'closed';
    this.user = undefined;
    user?.closed(how);
  }
}
