/**
 * One stream connection between guest and host (virtio 1.2 §5.10.6.4 and §5.10.6.5): what either side may say now, and what is to be said
 * to the guest next. How much each may send is in flow-control.ts, how it ends in order in ending.ts.
 *
 * The rule: nothing waits here but a set of packets to send, one of each kind. No guest and no host can make it grow.
 *
 * Runs on: main.
 */
import type { Chain } from '../../virtio/queue.js';
import type { GuestStream, HostEnd, StreamEnd } from './backend.js';
import { Ending } from './ending.js';
import { FlowControl } from './flow-control.js';
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
  #state: State = 'asked';
  #end: HostEnd | undefined;
  #due = 0;
  #requestSent = false;
  /** The host has data, as far as is known. */
  #hasData = false;
  readonly #flow: FlowControl;
  readonly #ending = new Ending();
  readonly #closeMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    { hostPort, guestPort }: ConnectionPorts,
    private readonly owner: ConnectionOwner,
    { window, closeMs }: ConnectionLimits,
  ) {
    this.hostPort = hostPort;
    this.guestPort = guestPort;
    this.#flow = new FlowControl(window);
    this.#closeMs = closeMs;
  }

  get over(): boolean {
    return this.#state === 'over';
  }

  /** Whether there is a packet to send, as far as is known. */
  get wants(): boolean {
    if (this.#due !== 0) return true;
    if (this.#state !== 'open') return false;
    if (this.#hasData) return this.#flow.credit > 0 || !this.#flow.asked;
    return this.#ending.due !== 0;
  }

  /** Asks the guest to take the connection. @param timeoutMs for its answer */
  request(end: HostEnd, timeoutMs: number): void {
    this.#end = end;
    this.#state = 'requested';
    this.#timer = setTimeout(() => this.#finish('timeout', this.#requestSent), timeoutMs);
    this.#send(DUE.REQUEST);
  }

  /** The guest has asked: takes its account of its buffer, and the host's end. */
  asked(header: PacketHeader, end: HostEnd): void {
    this.#flow.heard(header);
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
    if (this.#flow.consumed(bytes)) this.#send(DUE.CREDIT_UPDATE);
  }

  end(): void {
    if (this.#state === 'over') return;
    this.#ending.hostEnded = true;
    this.owner.wake(this);
  }

  close(): void {
    if (this.#state !== 'open') {
      this.reset();
      return;
    }
    this.#ending.abandoned = true;
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
    this.#flow.heard(header);
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
        if (this.#state !== 'open' || this.#ending.guestSendsNoMore) break;
        if (!this.#flow.mayReceive(header.length)) break;
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
    if (this.#hasData || this.#ending.due === 0) return 0;
    const flags = this.#ending.tell();
    if (this.#ending.hostIsDone) this.#timer = setTimeout(() => this.#finish('closed', true), this.#closeMs);
    return this.#write(chain, OP.SHUTDOWN, 0, flags);
  }

  #fillData(chain: Chain, room: number): number {
    if (!this.#hasData) return 0;
    const { credit } = this.#flow;
    const limit = Math.min(room, credit, MAX_PAYLOAD);
    if (limit === 0) {
      if (credit === 0 && this.#flow.ask()) this.#due |= DUE.CREDIT_REQUEST;
      return 0;
    }
    // Before `pull`, in which the host may call `ready`.
    this.#hasData = false;
    const payload = fillPayload(chain, limit, (into) => this.#end?.pull(into) ?? 0);
    if (payload === limit) this.#hasData = true;
    this.#flow.sent(payload);
    return payload;
  }

  #receive({ length }: PacketHeader, chain: Chain): void {
    this.#flow.received(length);
    if (this.#ending.abandoned) {
      this.consumed(length);
      return;
    }
    for (const piece of payloadOf(chain, length)) {
      if (this.over) return;
      this.#end?.received(piece);
    }
  }

  #guestSaid(flags: number): void {
    const news = this.#ending.heard(flags);
    if (news & SHUTDOWN.RCV) {
      this.#hasData = false;
      this.#end?.guestDeaf();
    }
    if (news & SHUTDOWN.SEND && !this.over) this.#end?.guestEnded();
    if (this.#ending.guestIsDone) this.#finish('closed', true);
    else this.#wakeIfOpen();
  }

  #endByReset(): StreamEnd {
    if (this.#state === 'requested') return 'refused';
    return this.#ending.hostIsDone ? 'closed' : 'reset';
  }

  #resume(): void {
    if (this.#hasData || this.#ending.hostEnded) this.#wakeIfOpen();
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
    const { bufAlloc, fwdCnt } = this.#flow.tell();
    const packet = {
      srcCid: this.owner.hostCid,
      dstCid: this.owner.guestCid,
      srcPort: this.hostPort,
      dstPort: this.guestPort,
      op,
      flags,
      bufAlloc,
      fwdCnt,
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
