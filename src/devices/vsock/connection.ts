/**
 * One stream connection between guest and host (virtio 1.2 §5.10.6.3 to §5.10.6.5): who has said what, and how much each may send.
 *
 *  1. The guest may have `window` bytes at the host that nobody has consumed. One that sends more is cut off.
 *  2. The host sends only what the guest has room for by its own account; a guest that lies about it harms itself.
 *  3. Nothing waits here but a set of packets to send, one of each kind: no guest and no host can make it grow.
 *
 * Runs on: main.
 */
import type { Chain } from '../../virtio/queue.js';
import type { GuestStream, HostEnd, StreamEnd } from './backend.js';
import { fillPayload, type PacketHeader, payloadOf, roomIn, writeHeader } from './packet.js';
import { OP, SHUTDOWN } from './protocol.js';

/** Largest payload of a packet, bytes; Linux's own limit (VIRTIO_VSOCK_MAX_PKT_BUF_SIZE). */
const MAX_PAYLOAD = 64 * 1024;

export interface ConnectionLimits {
  /** Bytes the guest may send ahead of its reader. */
  readonly window: number;
  /** How long a guest may take to answer SHUTDOWN, ms; then the connection is reset. */
  readonly closeMs: number;
}

/** The device, as a connection sees it. */
export interface ConnectionOwner {
  readonly guestCid: number;
  readonly hostCid: number;
  /** There is a packet to send. */
  wake(connection: Connection): void;
  /** The connection is over. @param tellGuest by RST */
  forget(connection: Connection, tellGuest: boolean): void;
}

export interface ConnectionPorts {
  readonly hostPort: number;
  readonly guestPort: number;
}

/** Packets that are due; RW and SHUTDOWN follow from the state. */
const DUE = { REQUEST: 1, RESPONSE: 2, CREDIT_UPDATE: 4, CREDIT_REQUEST: 8 } as const;

/** `requested`: by the host. `asked`: by the guest, and the host has not said yes. */
type State = 'requested' | 'asked' | 'open' | 'over';

export class Connection implements GuestStream {
  readonly hostPort: number;
  readonly guestPort: number;
  #state: State;
  #end: HostEnd | undefined;
  #due = 0;
  #requestSent = false;
  /** The host has data, as far as is known. */
  #hasData = false;
  #hostEnded = false;
  /** The host wants nothing to do with it any more. */
  #abandoned = false;
  /** What each side has said by SHUTDOWN. */
  #hostShutdown = 0;
  #guestShutdown = 0;
  /** The guest's account of its buffer: its size, and bytes it has taken out (modulo 2^32). */
  #guestAlloc = 0;
  #guestForwarded = 0;
  /** Bytes sent to the guest, received from it, and consumed of these, modulo 2^32. */
  #sent = 0;
  #received = 0;
  #consumed = 0;
  /** `#consumed` as the guest was told last. */
  #told = 0;
  #askedForCredit = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    { hostPort, guestPort }: ConnectionPorts,
    private readonly owner: ConnectionOwner,
    private readonly limits: ConnectionLimits,
  ) {
    this.hostPort = hostPort;
    this.guestPort = guestPort;
    this.#state = 'asked';
  }

  get over(): boolean {
    return this.#state === 'over';
  }

  /** Whether there is a packet to send, as far as is known. */
  get wants(): boolean {
    if (this.#due !== 0) return true;
    if (this.#state !== 'open') return false;
    return (this.#hasData && (this.#credit > 0 || !this.#askedForCredit)) || this.#shutdownDue() !== 0;
  }

  /** Asks the guest to take the connection. @param timeoutMs for its answer */
  request(end: HostEnd, timeoutMs: number): void {
    this.#end = end;
    this.#state = 'requested';
    this.#timer = setTimeout(() => this.#finish('timeout', this.#requestSent), timeoutMs);
    this.#send(DUE.REQUEST);
  }

  /** The guest has asked: takes its account of its buffer, and the host's end. */
  asked({ bufAlloc, fwdCnt }: PacketHeader, end: HostEnd): void {
    this.#guestAlloc = bufAlloc;
    this.#guestForwarded = fwdCnt;
    if (this.over) end.over('reset');
    else this.#end = end;
  }

  accept(): void {
    if (this.#state !== 'asked') return;
    this.#state = 'open';
    this.#send(DUE.RESPONSE);
  }

  ready(): void {
    if (this.#state === 'over') return;
    this.#hasData = true;
    this.owner.wake(this);
  }

  consumed(bytes: number): void {
    if (this.#state === 'over') return;
    this.#consumed = (this.#consumed + bytes) >>> 0;
    // Rarely enough to cost little, often enough that a guest whose data is being consumed never waits.
    if ((this.#consumed - this.#told) >>> 0 >= this.limits.window / 4) this.#send(DUE.CREDIT_UPDATE);
  }

  end(): void {
    if (this.#state === 'over') return;
    this.#hostEnded = true;
    this.owner.wake(this);
  }

  close(): void {
    if (this.#state !== 'open') {
      this.reset();
      return;
    }
    this.#abandoned = true;
    this.#hasData = false;
    this.end();
  }

  reset(): void {
    this.#finish('reset', this.#state !== 'requested' || this.#requestSent);
  }

  /** The device lost its driver: there is nobody to tell. */
  lost(): void {
    this.#finish('reset', false);
  }

  /** A packet of the guest for this connection. */
  packet(header: PacketHeader, chain: Chain): void {
    this.#guestAlloc = header.bufAlloc;
    this.#guestForwarded = header.fwdCnt;
    if (this.#credit > 0) this.#askedForCredit = false;
    switch (header.op) {
      case OP.RST:
        this.#finish(this.#endByReset(), false);
        return;
      case OP.RESPONSE:
        if (this.#state !== 'requested' || !this.#requestSent) break;
        this.#state = 'open';
        clearTimeout(this.#timer);
        this.#end?.opened();
        this.#resume();
        return;
      case OP.RW:
        if (this.#state !== 'open' || !this.#mayReceive(header.length)) break;
        this.#receive(header, chain);
        this.#resume();
        return;
      case OP.CREDIT_UPDATE:
        if (this.#state !== 'open') break;
        this.#resume();
        return;
      case OP.CREDIT_REQUEST:
        if (this.#state !== 'open') break;
        this.#send(DUE.CREDIT_UPDATE);
        return;
      case OP.SHUTDOWN:
        if (this.#state !== 'open') break;
        this.#guestSaid(header.flags);
        return;
    }
    // Not what can come now: the guest's idea of this connection is not ours.
    this.#finish('reset', true);
  }

  /** Puts the next packet into a buffer of the rx queue. @returns its bytes; 0: there is none */
  fill(chain: Chain): number {
    const room = roomIn(chain);
    if (this.#take(DUE.REQUEST)) {
      this.#requestSent = true;
      return this.#write(chain, OP.REQUEST);
    }
    if (this.#take(DUE.RESPONSE)) return this.#write(chain, OP.RESPONSE);
    if (this.#state !== 'open') return 0;
    const payload = this.#fillData(chain, room);
    // Every packet says how much was consumed.
    if (payload > 0) return this.#write(chain, OP.RW, payload);
    if (this.#take(DUE.CREDIT_UPDATE)) return this.#write(chain, OP.CREDIT_UPDATE);
    if (this.#take(DUE.CREDIT_REQUEST)) return this.#write(chain, OP.CREDIT_REQUEST);
    const shutdown = this.#shutdownDue();
    if (shutdown === 0) return 0;
    this.#hostShutdown |= shutdown;
    if (this.#hostShutdown === SHUTDOWN.BOTH) {
      this.#timer = setTimeout(() => this.#finish('closed', true), this.limits.closeMs);
    }
    return this.#write(chain, OP.SHUTDOWN, 0, this.#hostShutdown);
  }

  #fillData(chain: Chain, room: number): number {
    if (!this.#hasData) return 0;
    const credit = this.#credit;
    const limit = Math.min(room, credit, MAX_PAYLOAD);
    if (limit === 0) {
      if (credit === 0 && !this.#askedForCredit) {
        this.#askedForCredit = true;
        this.#due |= DUE.CREDIT_REQUEST;
      }
      return 0;
    }
    // Before `pull`, in which the host may call `ready`.
    this.#hasData = false;
    const payload = fillPayload(chain, limit, (into) => this.#end?.pull(into) ?? 0);
    if (payload === limit) this.#hasData = true;
    this.#sent = (this.#sent + payload) >>> 0;
    return payload;
  }

  /** Bytes the guest has room for, by its account. */
  get #credit(): number {
    const onTheWay = (this.#sent - this.#guestForwarded) >>> 0;
    return Math.max(0, this.#guestAlloc - onTheWay);
  }

  #mayReceive(length: number): boolean {
    if (this.#guestShutdown & SHUTDOWN.SEND) return false;
    return ((this.#received - this.#consumed) >>> 0) + length <= this.limits.window;
  }

  #receive({ length }: PacketHeader, chain: Chain): void {
    this.#received = (this.#received + length) >>> 0;
    if (this.#abandoned) {
      this.consumed(length);
      return;
    }
    for (const piece of payloadOf(chain, length)) {
      if (this.over) return;
      this.#end?.received(piece);
    }
  }

  #guestSaid(flags: number): void {
    const news = flags & SHUTDOWN.BOTH & ~this.#guestShutdown;
    this.#guestShutdown |= news;
    if (news & SHUTDOWN.RCV) {
      this.#hasData = false;
      this.#end?.guestDeaf();
    }
    if (news & SHUTDOWN.SEND && !this.over) this.#end?.guestEnded();
    // §5.10.6.5: the answer to "no more, either way" is RST.
    if (this.#guestShutdown === SHUTDOWN.BOTH) this.#finish('closed', true);
    else this.#wakeIfOpen();
  }

  /** What SHUTDOWN is to say next; 0 for none. Once both sides send no more, nobody receives either. */
  #shutdownDue(): number {
    if (!this.#hostEnded || this.#hasData) return 0;
    const both = this.#abandoned || (this.#guestShutdown & SHUTDOWN.SEND) !== 0;
    return (both ? SHUTDOWN.BOTH : SHUTDOWN.SEND) & ~this.#hostShutdown;
  }

  #endByReset(): StreamEnd {
    if (this.#state === 'requested') return 'refused';
    return this.#hostShutdown === SHUTDOWN.BOTH ? 'closed' : 'reset';
  }

  #resume(): void {
    if (this.#hasData || this.#hostEnded) this.#wakeIfOpen();
  }

  #wakeIfOpen(): void {
    if (!this.over) this.owner.wake(this);
  }

  #send(packet: number): void {
    this.#due |= packet;
    this.owner.wake(this);
  }

  #take(packet: number): boolean {
    const due = (this.#due & packet) !== 0;
    this.#due &= ~packet;
    return due;
  }

  #write(chain: Chain, op: number, payload = 0, flags = 0): number {
    this.#due &= ~DUE.CREDIT_UPDATE;
    this.#told = this.#consumed;
    const packet = {
      srcCid: this.owner.hostCid,
      dstCid: this.owner.guestCid,
      srcPort: this.hostPort,
      dstPort: this.guestPort,
      op,
      flags,
      bufAlloc: this.limits.window,
      fwdCnt: this.#consumed,
    };
    return writeHeader(chain, packet, payload);
  }

  #finish(why: StreamEnd, tellGuest: boolean): void {
    if (this.over) return;
    this.#state = 'over';
    clearTimeout(this.#timer);
    this.owner.forget(this, tellGuest);
    const end = this.#end;
    this.#end = undefined;
    end?.over(why);
  }
}
