/**
 * A guest's TCP, written for tests apart from the code under test: simple where that is allowed (a fixed window of data under
 * way, one timer), strict where it checks (data must come in order once, every segment must be sound).
 */
import type { TcpFields } from './guest-frames.js';

export interface GuestClock {
  now(): number;
  after(ms: number, action: () => void): () => void;
}

export interface GuestTcpOptions {
  readonly mss?: number;
  /** Bytes of data not read yet that it takes. */
  readonly receiveBuffer?: number;
  /** undefined: no window scaling. */
  readonly windowScale?: number | undefined;
  /** Most bytes under way. */
  readonly sendWindow?: number;
  readonly retransmitMs?: number;
}

interface Unacked {
  readonly seq: number;
  readonly data: Uint8Array;
  readonly fin: boolean;
}

const diff = (a: number, b: number): number => (a - b) | 0;

/** One connection. Set the `on…` functions; call `write`, `end`, `read`. */
export class GuestTcp {
  state: 'syn-sent' | 'syn-received' | 'open' | 'closed' = 'syn-sent';
  onData: (bytes: Uint8Array) => void = () => {};
  onOpen: () => void = () => {};
  onEnd: () => void = () => {};
  onClose: (why: string) => void = () => {};
  /** Called when everything written has been acknowledged. */
  onDrain: () => void = () => {};
  /** While true, data is kept and the window closes. */
  stalled = false;
  received = 0;
  /** Highest number of bytes ever under way. */
  mostInFlight = 0;
  retransmissions = 0;
  duplicateAcks = 0;
  ended = false;
  peerMss = 0;
  peerWindow = 0;
  readonly localPort: number;
  readonly #remotePort: number;
  readonly #clock: GuestClock;
  readonly #send: (fields: TcpFields) => void;
  readonly #options: Required<Omit<GuestTcpOptions, 'windowScale'>> & { windowScale: number | undefined };
  #una: number;
  #nxt: number;
  #rcv = 0;
  #peerScale = 0;
  #scaling = false;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #unacked: Unacked[] = [];
  #finQueued = false;
  #finSent = false;
  #finAcked = false;
  #early = new Map<number, { data: Uint8Array; fin: boolean }>();
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  #cancelTimer: (() => void) | undefined;
  #backoff = 1;
  #silent = 0;
  #sinceAdvance = 0;

  constructor(
    clock: GuestClock,
    ports: { local: number; remote: number },
    send: (fields: TcpFields) => void,
    isn: number,
    options: GuestTcpOptions = {},
  ) {
    this.#clock = clock;
    this.#send = send;
    this.localPort = ports.local;
    this.#remotePort = ports.remote;
    this.#una = this.#nxt = isn >>> 0;
    this.#options = {
      mss: 1460,
      receiveBuffer: 256 * 1024,
      sendWindow: 256 * 1024,
      retransmitMs: 200,
      windowScale: 7,
      ...options,
    };
  }

  get inFlight(): number {
    return diff(this.#nxt, this.#una);
  }

  get isDone(): boolean {
    return this.#finAcked && this.ended;
  }

  get unsent(): number {
    return this.#queued;
  }

  connect(): void {
    this.#emit('S', this.#una, undefined, this.#synOptions());
    this.#nxt = (this.#una + 1) >>> 0;
    this.#arm();
  }

  /** Takes a SYN of the other side. */
  acceptSyn(fields: ParsedTcp): void {
    this.state = 'syn-received';
    this.#readSyn(fields);
    this.#emit('SA', this.#una, undefined, this.#synOptions());
    this.#nxt = (this.#una + 1) >>> 0;
    this.#arm();
  }

  write(bytes: Uint8Array): void {
    this.#queue.push(bytes);
    this.#queued += bytes.length;
    this.#output();
  }

  end(): void {
    this.#finQueued = true;
    this.#output();
  }

  reset(): void {
    this.#emit('RA', this.#nxt);
    this.#close('reset by test');
  }

  /** Ends without a word to anybody, as when the guest is gone: nothing is sent again. */
  forget(): void {
    this.state = 'closed';
    this.#disarm();
  }

  /** Goes on reading after `stalled`. */
  read(): void {
    this.stalled = false;
    const chunks = this.#unread;
    this.#unread = [];
    this.#unreadBytes = 0;
    for (const chunk of chunks) this.onData(chunk);
    this.#emit('A', this.#nxt);
  }

  /** A keep-alive probe, as a kernel sends it. */
  probe(): void {
    this.#emit('A', this.#nxt - 1);
  }

  receive(segment: ParsedTcp): void {
    if (this.state === 'closed') return;
    if (segment.flags.includes('R')) {
      const expected =
        this.state === 'syn-sent' ? segment.ack === this.#nxt : diff(segment.seq, this.#rcv) >= 0;
      if (expected) this.#close('reset');
      return;
    }
    if (this.state === 'syn-sent') {
      if (!segment.flags.includes('S') || !segment.flags.includes('A') || segment.ack !== this.#nxt) return;
      this.#readSyn(segment);
      this.#una = segment.ack;
      this.#open();
      this.#emit('A', this.#nxt);
      this.#output();
      return;
    }
    if (segment.flags.includes('S')) {
      this.#emit('A', this.#nxt);
      return;
    }
    if (this.state === 'syn-received') {
      if (segment.ack !== this.#nxt) return;
      this.#una = segment.ack;
      this.#open();
    }
    this.#takeAck(segment);
    this.#takeData(segment);
    this.#output();
    if (this.isDone && this.#unreadBytes === 0) this.#close('done');
  }

  #open(): void {
    this.state = 'open';
    this.#silent = 0;
    this.#backoff = 1;
    this.#disarm();
    this.onOpen();
  }

  #synOptions(): number[] {
    const { mss, windowScale } = this.#options;
    const scale = windowScale === undefined ? [] : [1, 3, 3, windowScale];
    return [2, 4, mss >> 8, mss & 0xff, ...scale];
  }

  #readSyn({ seq, window, options }: ParsedTcp): void {
    this.#rcv = (seq + 1) >>> 0;
    this.peerMss = options.mss ?? 536;
    this.#scaling = options.scale !== undefined && this.#options.windowScale !== undefined;
    this.#peerScale = this.#scaling ? options.scale! : 0;
    this.peerWindow = window;
  }

  #takeAck({ ack, window, flags, data }: ParsedTcp): void {
    if (!flags.includes('A')) return;
    if (diff(ack, this.#nxt) > 0) throw new Error('acknowledges what was not sent');
    const scaled = window * 2 ** this.#peerScale;
    const advanced = diff(ack, this.#una) > 0;
    if (advanced) {
      this.#una = ack;
      this.#silent = 0;
      this.#backoff = 1;
      this.#sinceAdvance = 0;
      while (this.#unacked[0] && diff(endOf(this.#unacked[0]), ack) <= 0) {
        if (this.#unacked.shift()!.fin) this.#finAcked = true;
      }
      this.#disarm();
      if (this.inFlight > 0) this.#arm();
    } else if (ack === this.#una && this.inFlight > 0 && data.length === 0 && scaled === this.peerWindow) {
      this.duplicateAcks += 1;
      this.#sinceAdvance += 1;
      if (this.#sinceAdvance === 3) this.#resend();
    }
    if (diff(ack, this.#una) >= 0) {
      if (scaled === 0) this.#silent = 0;
      this.peerWindow = scaled;
    }
    if (this.#queued === 0 && this.inFlight === 0) this.onDrain();
  }

  #takeData({ seq, data, flags }: ParsedTcp): void {
    const fin = flags.includes('F');
    if (data.length === 0 && !fin) {
      // A probe or a keep-alive: something outside of what is expected is answered.
      if (diff(seq, this.#rcv) < 0) this.#emit('A', this.#nxt);
      return;
    }
    const room = this.#options.receiveBuffer - this.#unreadBytes;
    if (diff(seq, this.#rcv) + data.length <= room) this.#early.set(seq, { data: data.slice(), fin });
    for (let again = true; again; ) {
      again = false;
      for (const [start, piece] of this.#early) {
        const old = diff(this.#rcv, start);
        if (old < 0) continue;
        this.#early.delete(start);
        again = true;
        if (old < piece.data.length || (piece.fin && old === piece.data.length && !this.ended)) {
          this.#deliver(piece.data.subarray(old));
          if (piece.fin && !this.ended) {
            this.ended = true;
            this.#rcv = (this.#rcv + 1) >>> 0;
            this.onEnd();
          }
        }
      }
    }
    this.#emit('A', this.#nxt);
  }

  #deliver(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (this.ended) throw new Error('data after the end');
    this.#rcv = (this.#rcv + bytes.length) >>> 0;
    this.received += bytes.length;
    if (this.stalled) {
      this.#unread.push(bytes);
      this.#unreadBytes += bytes.length;
    } else this.onData(bytes);
  }

  #output(): void {
    if (this.state !== 'open') return;
    const limit = Math.min(this.peerWindow, this.#options.sendWindow);
    const mss = Math.min(this.peerMss, this.#options.mss);
    while (this.#queued > 0 && this.inFlight < limit) {
      const data = this.#takeQueued(Math.min(mss, limit - this.inFlight));
      const fin = this.#finQueued && this.#queued === 0 && this.inFlight + data.length < limit;
      this.#transmit({ seq: this.#nxt, data, fin });
    }
    if (this.#queued === 0 && this.#finQueued && !this.#finSent && (this.inFlight < limit || limit === 0)) {
      this.#transmit({ seq: this.#nxt, data: new Uint8Array(0), fin: true });
    }
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    if (this.#queued > 0 && !this.#cancelTimer) this.#arm(); // a closed window: probe it
  }

  #takeQueued(count: number): Uint8Array {
    const first = this.#queue[0]!;
    const data = first.subarray(0, count);
    if (data.length === first.length) this.#queue.shift();
    else this.#queue[0] = first.subarray(count);
    this.#queued -= data.length;
    return data;
  }

  #transmit(piece: Unacked): void {
    if (piece.fin) this.#finSent = true;
    this.#unacked.push(piece);
    this.#nxt = endOf(piece);
    this.#emit(piece.fin ? 'FA' : 'PA', piece.seq, piece.data);
    if (!this.#cancelTimer) this.#arm();
  }

  #resend(): void {
    this.retransmissions += 1;
    const piece = this.#unacked[0];
    if (piece) this.#emit(piece.fin ? 'FA' : 'PA', piece.seq, piece.data);
  }

  #arm(): void {
    this.#disarm();
    this.#cancelTimer = this.#clock.after(this.#options.retransmitMs * this.#backoff, () => {
      this.#cancelTimer = undefined;
      this.#expired();
    });
  }

  #disarm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #expired(): void {
    this.#silent += 1;
    if (this.#silent > 20) {
      this.#close('timeout');
      return;
    }
    this.#backoff = Math.min(this.#backoff * 2, 16);
    this.#sinceAdvance = 0;
    if (this.state === 'syn-sent') this.#emit('S', this.#una, undefined, this.#synOptions());
    else if (this.state === 'syn-received') this.#emit('SA', this.#una, undefined, this.#synOptions());
    else if (this.#unacked.length > 0) this.#resend();
    else if (this.#queued > 0) this.#transmit({ seq: this.#nxt, data: this.#takeQueued(1), fin: false });
    else return;
    this.#arm();
  }

  #emit(flags: string, seq: number, data?: Uint8Array, options?: number[]): void {
    const room = Math.max(this.#options.receiveBuffer - this.#unreadBytes, 0);
    const syn = flags.includes('S');
    const shift = syn || !this.#scaling ? 0 : this.#options.windowScale!;
    const window = Math.min(Math.floor(room / 2 ** shift), 0xffff);
    const acks = flags.includes('A');
    this.#send({
      sourcePort: this.localPort,
      destinationPort: this.#remotePort,
      seq: seq >>> 0,
      flags,
      window,
      ...(acks && { ack: this.#rcv }),
      ...(data && { data }),
      ...(options && { options }),
    });
  }

  #close(why: string): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.#disarm();
    this.onClose(why);
  }
}

const endOf = ({ seq, data, fin }: Unacked): number => (seq + data.length + (fin ? 1 : 0)) >>> 0;

export interface TcpOptions {
  mss?: number;
  scale?: number;
  sackPermitted?: true;
  /** First byte, and the one behind the last. */
  sack?: [left: number, right: number][];
}

export interface ParsedTcp {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: string;
  readonly window: number;
  readonly options: TcpOptions;
  readonly data: Uint8Array;
}

/** Reads a segment whose checksum is right. */
export function readTcp(payload: Uint8Array): ParsedTcp {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const header = (payload[12]! >> 4) * 4;
  const letters = ['F', 'S', 'R', 'P', 'A', 'U'].filter((_, bit) => (payload[13]! >> bit) & 1);
  const options: TcpOptions = {};
  for (let at = 20; at < header; ) {
    const kind = payload[at]!;
    if (kind === 0) break;
    if (kind === 1) {
      at += 1;
      continue;
    }
    if (kind === 2) options.mss = view.getUint16(at + 2);
    if (kind === 3) options.scale = payload[at + 2]!;
    if (kind === 4) options.sackPermitted = true;
    if (kind === 5) {
      const count = (payload[at + 1]! - 2) / 8;
      options.sack = Array.from({ length: count }, (_, block) => [
        view.getUint32(at + 2 + 8 * block),
        view.getUint32(at + 6 + 8 * block),
      ]);
    }
    at += payload[at + 1]!;
  }
  return {
    sourcePort: view.getUint16(0),
    destinationPort: view.getUint16(2),
    seq: view.getUint32(4),
    ack: view.getUint32(8),
    flags: letters.join(''),
    window: view.getUint16(14),
    options,
    data: payload.subarray(header),
  };
}
