/**
 * A connection's segments on their way out: their headers, and when an acknowledgement goes by itself. Everything that came with one
 * kick of the guest is acknowledged at once; what the guest had no room for follows when it has.
 * Runs on: main.
 */
import type { Clock } from '../clock.js';
import type { TcpPath } from './ends.js';
import { type Receiver, WINDOW_SHIFT } from './receiver.js';
import { FLAG, type SegmentHeader } from './segment.js';
import type { Transmission } from './sender.js';

/** How often a segment outside of the window that carries nothing is answered (RFC 5961 §10, as Linux has it). */
const ANSWER_EVERY_MS = 500;

export interface OutputHost {
  readonly clock: Clock;
  readonly path: TcpPath;
  /** The largest segment that we take, for a SYN. */
  mss(): number;
  /** SND.NXT */
  next(): number;
  /** Bytes from the guest that the connection's user has not passed on. */
  pending(): number;
  /** @returns false when the guest has no room: `resume` is called when it has */
  transmit(header: SegmentHeader, offset: number, length: number): boolean;
}

export class Output {
  /** There is none before the guest's SYN. */
  receiver: Receiver | undefined;
  readonly #host: OutputHost;
  /** An acknowledgement is due: the guest had no room for it, or not all that came with one kick is read. */
  #ackDue = false;
  #ackScheduled = false;
  /** When a segment outside of the window that carries nothing was answered last. */
  #lastAnswer = Number.NEGATIVE_INFINITY;

  constructor(host: OutputHost) {
    this.#host = host;
  }

  /** @param offset where its data is in the sender's queue @returns false when the guest has no room */
  send(flags: number, seq: number, offset = 0, length = 0): boolean {
    const { path } = this.#host;
    const { receiver } = this;
    const syn = (flags & FLAG.SYN) !== 0;
    const header: SegmentHeader = {
      sourcePort: path.remotePort,
      destinationPort: path.guestPort,
      seq,
      ack: flags & FLAG.ACK ? (receiver?.next ?? 0) : 0,
      flags,
      window: (syn ? receiver?.offerFirst() : receiver?.offer(this.#host.pending())) ?? 0xffff,
      mss: syn ? this.#host.mss() : undefined,
      // Whoever opens offers to scale; whoever answers does so if that was offered (RFC 7323 §2.2).
      windowScale: syn && (!receiver || receiver.shift > 0) ? WINDOW_SHIFT : undefined,
      sackPermitted: syn && (!receiver || receiver.sack),
      sack: syn || length > 0 ? undefined : receiver?.sackBlocks,
    };
    const sent = this.#host.transmit(header, offset, length);
    if (sent && flags & FLAG.ACK) this.#ackDue = false;
    return sent;
  }

  transmit({ seq, offset, length, syn, fin, push }: Transmission): boolean {
    const acks = this.receiver ? FLAG.ACK : 0;
    const flags = acks | (syn ? FLAG.SYN : 0) | (fin ? FLAG.FIN : 0) | (push && length > 0 ? FLAG.PSH : 0);
    return this.send(flags, seq, offset, length);
  }

  acknowledge(): void {
    this.#ackDue = !this.send(FLAG.ACK, this.#host.next());
  }

  /** With everything else that this kick of the guest brought. */
  acknowledgeSoon(): void {
    this.#ackDue = true;
    if (this.#ackScheduled) return;
    this.#ackScheduled = true;
    this.#host.clock.soon(() => {
      this.#ackScheduled = false;
      if (this.#ackDue) this.acknowledge();
    });
  }

  /** Answers a segment outside of the window. @param empty it takes nothing of the sequence space */
  acknowledgeOutside(empty: boolean): void {
    // Two ends that disagree would answer each other's answers for ever.
    const now = this.#host.clock.now();
    if (empty && now - this.#lastAnswer < ANSWER_EVERY_MS) return;
    this.#lastAnswer = now;
    this.acknowledge();
  }

  /** The guest has room for frames again. */
  resume(): void {
    if (this.#ackDue && !this.#ackScheduled) this.acknowledge();
  }

  /** Nothing more goes out by itself. */
  stop(): void {
    this.#ackDue = false;
  }
}
