/** Networks for tests of the network device: one that speaks headers and queue pairs, and one of plain frames. */
import type {
  NetBackend,
  Receive,
  Sent,
  VnetBackend,
  VnetGuest,
  VnetHeader,
} from '../../src/devices/net/backend.js';

/** Frames with headers: what is sent is kept, what shall be received is put into `waiting`. */
export class TestVnet implements VnetBackend {
  readonly pairs: number;
  readonly offloads: bigint;
  /** By pair, copies. */
  readonly sent: Uint8Array[][];
  readonly waiting: Uint8Array[][];
  guest: VnetGuest | undefined;
  guestOffloads = 0n;
  /** Pairs that carry frames now. */
  active = 0;
  full = false;
  closed = 0;
  /** Thrown by the next `send` or `receive`. */
  failure: Error | undefined;

  constructor({ pairs = 1, offloads = 0n }: { pairs?: number; offloads?: bigint } = {}) {
    this.pairs = pairs;
    this.offloads = offloads;
    this.sent = Array.from({ length: pairs }, () => []);
    this.waiting = Array.from({ length: pairs }, () => []);
  }

  attach(guest: VnetGuest): void {
    this.guest = guest;
  }
  setOffloads(features: bigint): void {
    this.guestOffloads = features;
  }
  setPairs(pairs: number): void {
    this.active = pairs;
  }
  send(pair: number, pieces: readonly Uint8Array[]): Sent {
    this.#fail();
    if (this.full) return 'full';
    this.sent[pair]!.push(Uint8Array.from(Buffer.concat(pieces)));
    return 'sent';
  }
  receive(pair: number, into: readonly Uint8Array[]): number {
    this.#fail();
    const frame = this.waiting[pair]!.shift();
    if (!frame) return 0;
    let done = 0;
    for (const piece of into) {
      const part = frame.subarray(done, done + piece.length);
      piece.set(part);
      done += part.length;
    }
    if (done < frame.length) throw new Error(`room for ${done} of ${frame.length} bytes`);
    return frame.length;
  }
  expected(): number {
    return 1526;
  }
  close(): void {
    this.closed += 1;
  }

  /** A frame for the guest, with its header. */
  deliver(frame: Uint8Array, pair = 0): void {
    this.waiting[pair]!.push(frame);
    this.guest!.readable(pair);
  }

  #fail(): void {
    const { failure } = this;
    this.failure = undefined;
    if (failure) throw failure;
  }
}

/** Plain frames, as an embedder would have them. */
export class TestNetwork implements NetBackend {
  readonly sent: Uint8Array[] = [];
  readonly headers: (VnetHeader | undefined)[] = [];
  receive: Receive = () => false;
  drained: () => void = () => {};
  full = false;
  /** Frames handed over when there is room. */
  readonly waiting: Uint8Array[] = [];
  rooms = 0;
  closed = 0;

  constructor(
    readonly mac?: string,
    readonly offloads = false,
  ) {}

  send(frame: Uint8Array, header?: VnetHeader): boolean {
    if (this.full) return false;
    this.sent.push(frame);
    this.headers.push(header);
    return true;
  }
  onReceive(receive: Receive): void {
    this.receive = receive;
  }
  onDrain(drained: () => void): void {
    this.drained = drained;
  }
  room(): void {
    this.rooms += 1;
    while (this.waiting.length > 0 && this.receive(this.waiting[0]!)) this.waiting.shift();
  }
  close(): void {
    this.closed += 1;
  }
}
