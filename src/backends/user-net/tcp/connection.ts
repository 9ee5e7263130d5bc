/**
 * One TCP connection with the guest: what each state does with a segment (RFC 9293 §3.10.7), with the answers to blind attacks of RFC
 * 5961. What moves data is in sender.ts and receiver.ts, what goes out in output.ts, and how it ends in states.ts.
 *
 * One thing differs from a textbook: a guest's SYN is answered only when `accept` is called, after the host's side is there. A
 * guest so sees "refused" or "unreachable" as if it had the host's own network.
 * Runs on: main.
 */
import type { TcpHost, TcpPath, TcpUser } from './ends.js';
import { KeepAlive } from './keep-alive.js';
import { Output } from './output.js';
import { Receiver, WINDOW_SHIFT } from './receiver.js';
import { DEFAULT_MSS, FLAG, has, type Segment, spaceOf } from './segment.js';
import { Sender } from './sender.js';
import { add, before } from './sequence.js';
import { type Closing, following, type TcpState } from './states.js';

/** Made by `fromGuest` for a guest's SYN, or by `toGuest`. */
export class Connection {
  state: TcpState = 'closed';
  user: TcpUser | undefined;
  readonly path: TcpPath;
  readonly sender: Sender;
  readonly #host: TcpHost;
  readonly #output: Output;
  readonly #keepAlive: KeepAlive;
  /** The guest's window scale; 0 while scales are not in use. */
  #scale = 0;
  #ending = false;

  private constructor(host: TcpHost, path: TcpPath, iss: number) {
    this.#host = host;
    this.path = path;
    this.sender = new Sender(host.clock, host.pool, iss, {
      burstOf: (mss) => host.burstOf(mss),
      transmit: (segment) => this.#output.transmit(segment),
      drained: () => this.user?.drained(),
      failed: () => this.#cut('timeout'),
    });
    this.#output = new Output({
      clock: host.clock,
      path,
      mss: () => host.mssOf(path.guest),
      next: () => this.sender.nxt,
      pending: () => this.user?.pending ?? 0,
      transmit: (header, offset, length) => host.transmit(this, header, offset, length),
    });
    this.#keepAlive = new KeepAlive(
      host.clock,
      // A segment that the guest has acknowledged already.
      () => void this.#output.send(FLAG.ACK, add(this.sender.una, -1)),
      () => this.#cut('timeout'),
    );
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
    this.#advance('end');
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
    if (this.#receiver?.shouldTell(this.user?.pending ?? 0) && this.#isOpen) this.#output.acknowledge();
  }

  /** The guest has room for frames again. */
  resume(): void {
    if (this.state === 'closed') return;
    this.#output.resume();
    this.sender.output();
  }

  receive(segment: Segment): void {
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
        this.#keepAlive.heard();
        this.#receiveSynchronised(segment, this.#receiver!);
        return;
    }
  }

  get #receiver(): Receiver | undefined {
    return this.#output.receiver;
  }

  get #isOpen(): boolean {
    return this.state !== 'closed' && this.state !== 'listen' && this.state !== 'syn-sent';
  }

  #synReceived(syn: Segment): void {
    const v6 = this.path.guest.length === 16;
    const receiver = new Receiver(this.#host.pool, syn.seq);
    receiver.sack = syn.sackPermitted;
    this.#output.receiver = receiver;
    if (syn.windowScale !== undefined) {
      this.#scale = syn.windowScale;
      receiver.shift = WINDOW_SHIFT;
    }
    const theirs = syn.mss ?? (v6 ? DEFAULT_MSS.v6 : DEFAULT_MSS.v4);
    // A guest that offers next to nothing would make us send a segment for every few bytes.
    this.sender.mss = Math.max(64, Math.min(theirs, this.#host.mssOf(this.path.guest)));
    this.sender.initialWindow(syn.window, syn.seq, syn.ack);
  }

  /** §3.10.7.3 */
  #receiveInSynSent(segment: Segment): void {
    const acks = has(segment, FLAG.ACK);
    if (acks && (!before(this.sender.una, segment.ack) || !this.sender.wasSent(segment.ack))) {
      if (!has(segment, FLAG.RST)) this.#output.send(FLAG.RST, segment.ack);
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
      this.#output.acknowledge();
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
      else this.#output.acknowledge(); // RFC 5961 §3.2
      return;
    }
    if (has(segment, FLAG.SYN)) {
      this.#output.acknowledge(); // RFC 5961 §4.2
      return;
    }
    if (!has(segment, FLAG.ACK)) return;
    const window = segment.window << this.#scale;
    if (this.state === 'syn-received') {
      if (!before(this.sender.una, ack) || !this.sender.wasSent(ack)) {
        this.#output.send(FLAG.RST, ack);
        return;
      }
      this.#establish(segment, window);
    } else {
      if (!this.sender.wasSent(ack)) {
        this.#output.acknowledge();
        return;
      }
      this.sender.acknowledge(ack, window, seq, data.length === 0 && !has(segment, FLAG.FIN));
    }
    if (this.sender.finished && this.#advance('fin-acknowledged')) return;
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
      this.sender.acknowledge(ack, window << this.#scale, seq, false);
      if (this.sender.finished && this.#advance('fin-acknowledged')) return;
    }
    this.#output.acknowledgeOutside(spaceOf(segment) === 0);
  }

  #establish({ ack, seq }: Segment, window: number): void {
    this.state = 'established';
    this.#keepAlive.heard();
    this.sender.acknowledge(ack, window, seq, false);
    this.user?.established();
    if (this.#ending) this.#advance('end');
  }

  #takeData(segment: Segment, receiver: Receiver): void {
    const hadGap = receiver.hasGap;
    receiver.take(segment.seq, segment.data, has(segment, FLAG.FIN), (bytes) => this.user?.data(bytes));
    if (this.#isClosed()) return;
    if (receiver.ended) this.#finReceived();
    else if (hadGap || receiver.hasGap)
      this.#output.acknowledge(); // at once: it tells of a loss, or of its repair
    else this.#output.acknowledgeSoon();
  }

  /** A user may have cut it meanwhile, which the compiler cannot know. */
  #isClosed(): boolean {
    return this.state === 'closed';
  }

  /** @returns whether that was the end */
  #advance(event: Closing): boolean {
    const next = following(this.state, event);
    if (next !== this.state && (next === 'closed' || next === 'time-wait')) this.#finish('ended', next);
    else this.state = next;
    return this.#isClosed();
  }

  #finReceived(): void {
    this.#output.acknowledge();
    const next = following(this.state, 'fin-received');
    const isEnd = next === 'time-wait';
    if (!isEnd) this.state = next;
    this.user?.ended();
    if (isEnd && !this.#isClosed()) this.#finish('ended', next);
  }

  #cut(how: 'reset' | 'timeout'): void {
    this.#output.send(FLAG.RST | FLAG.ACK, this.sender.nxt);
    this.#finish(how);
  }

  #finish(how: 'ended' | 'reset' | 'timeout', state: 'closed' | 'time-wait' = 'closed'): void {
    const { user } = this;
    this.state = state;
    this.#keepAlive.stop();
    this.#output.stop();
    this.sender.release();
    this.#receiver?.release();
    this.#host.closed(this);
    this.state = 'closed';
    this.user = undefined;
    user?.closed(how);
  }
}
