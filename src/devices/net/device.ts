/**
 * Network device (virtio 1.2 §5.1) over any VnetBackend: what it offers, its control queue, and which queues carry frames.
 * Frames themselves are the Transmitter's and the Receiver's. What is no frame is dropped and counted, and the link lives.
 * Runs on: main.
 */
import { ConfigSpace } from '../../virtio/config-space.js';
import type { Session, VirtioDevice } from '../../virtio/device.js';
import { type RateLimit, RateLimiter } from '../rate-limiter.js';
import type { VnetBackend, VnetGuest } from './backend.js';
import { type ControlTarget, serveCommand } from './control.js';
import { RxFilter } from './filter.js';
import type { NetPort, NetStats } from './port.js';
import { CONFIG, DEVICE_ID, F, GUEST_OFFLOADS, NEEDS, S } from './protocol.js';
import { Receiver } from './receiver.js';
import { Transmitter } from './transmitter.js';

/** Most entries of a queue. */
export const QUEUE_SIZE = 256;
const CONTROL_SIZE = 64;

/**
 * What the device does whatever is behind it. What frames may leave undone is offered as the back end can do it. Not offered: VLAN
 * filtering, which RxFilter would have no use for; RSS and hash reports, since a tap has flows come back to the queue they were sent
 * from by itself (§5.1.6.5.6) and lets nobody set its hash without CAP_BPF, and the other back ends have one pair.
 */
const OWN_FEATURES =
  F.MAC |
  F.MRG_RXBUF |
  F.STATUS |
  F.CTRL_VQ |
  F.CTRL_RX |
  F.CTRL_RX_EXTRA |
  F.CTRL_MAC_ADDR |
  F.GUEST_ANNOUNCE;

export interface NetDeviceOptions {
  readonly backend: VnetBackend;
  /** The card's address, 6 bytes. */
  readonly mac: Uint8Array;
  /** Bytes, 68 to 65535. Not told to the guest when absent. */
  readonly mtu?: number | undefined;
  /** Limits on what the guest receives and on what it sends. */
  readonly rx?: RateLimit | undefined;
  readonly tx?: RateLimit | undefined;
  /** Told what the back end could not do. */
  readonly onHostError?: (error: unknown) => void;
}

interface Pair {
  readonly receiver: Receiver | undefined;
  readonly transmitter: Transmitter | undefined;
  /** What the back end's news mean to it. */
  readonly onReadable: () => void;
  readonly onWritable: () => void;
}

export class NetDevice implements VirtioDevice, VnetGuest {
  readonly type = DEVICE_ID;
  readonly queueSizes: readonly number[];
  readonly features: bigint;
  readonly config: ConfigSpace;
  readonly stats: NetStats & Readonly<Record<string, number>> = {
    received: 0,
    receivedBytes: 0,
    sent: 0,
    sentBytes: 0,
    filtered: 0,
    receiveDropped: 0,
    sendDropped: 0,
    malformed: 0,
  };
  /** Its limits, which may be changed at any time: on what the guest receives, and on what it sends. */
  readonly rxLimiter: RateLimiter;
  readonly txLimiter: RateLimiter;
  readonly #options: NetDeviceOptions;
  readonly #mac: Uint8Array;
  #session: Session | undefined;
  #pairs: readonly Pair[] = [];
  /** Pairs that carry frames. */
  #active = 0;
  #offloads = 0n;
  #told = '';
  #filter: RxFilter;

  constructor(
    readonly name: string,
    options: NetDeviceOptions,
  ) {
    const { backend, mac, mtu, rx, tx } = options;
    this.#options = options;
    this.#mac = mac;
    this.#filter = new RxFilter(false, mac);
    this.queueSizes = [...Array.from({ length: 2 * backend.pairs }, () => QUEUE_SIZE), CONTROL_SIZE];
    this.features = featuresOf(options);
    this.config = new ConfigSpace(CONFIG.SIZE, (view) => {
      for (const [index, byte] of mac.entries()) view.setUint8(CONFIG.mac + index, byte);
      view.setUint16(CONFIG.status, S.LINK_UP, true);
      view.setUint16(CONFIG.max_virtqueue_pairs, backend.pairs, true);
      view.setUint16(CONFIG.mtu, mtu ?? 0, true);
    });
    this.rxLimiter = new RateLimiter(rx);
    this.txLimiter = new RateLimiter(tx);
    backend.attach(this);
  }

  /** The address the guest's card has now: the driver may change it. */
  get mac(): Uint8Array {
    return this.config.bytes.slice(CONFIG.mac, CONFIG.mac + 6);
  }

  /** Whether the cable is plugged in, as far as the guest can tell. */
  get linkUp(): boolean {
    return (this.#status & S.LINK_UP) !== 0;
  }

  /** Plugs the cable in or out: the driver is told, and frames are dropped while it is out. */
  setLink(up: boolean): void {
    if (up !== this.linkUp) this.#setStatus(up ? this.#status | S.LINK_UP : this.#status & ~S.LINK_UP);
  }

  /** Asks the driver to say on the network where its addresses are (§5.1.6.5.4), after the network has changed. */
  announce(): void {
    if ((this.#session?.features ?? 0n) & F.GUEST_ANNOUNCE) this.#setStatus(this.#status | S.ANNOUNCE);
  }

  /** §5.1.3.1, and §5.1.4: a device that was reset has its own address again. */
  acceptsFeatures(features: bigint): boolean {
    this.config.set(CONFIG.mac, this.#mac);
    return NEEDS.every(([feature, oneOf]) => !(features & feature) || (features & oneOf) !== 0n);
  }

  activate(session: Session): void {
    this.#session = session;
    this.#offloads = session.features & GUEST_OFFLOADS;
    // §5.1.6.5.2.1: the table is empty after a reset.
    this.#filter = new RxFilter((session.features & F.CTRL_RX) !== 0n, this.mac);
    const port: NetPort = {
      session,
      backend: this.#options.backend,
      filter: this.#filter,
      stats: this.stats,
      rxLimiter: this.rxLimiter,
      txLimiter: this.txLimiter,
      mtu: session.features & F.MTU ? this.#options.mtu : undefined,
      linkUp: () => this.linkUp,
      guestOffloads: () => this.#offloads,
      failed: (error) => this.failed(error),
    };
    this.#pairs = Array.from({ length: this.#pairLimit(session) }, (_, pair) => pairOf(port, pair));
    this.#options.backend.setOffloads(this.#offloads);
    // §5.1.6.5.5: one pair until the driver asks for more.
    this.#setPairs(1);
  }

  kick(index: number): void {
    const session = this.#session;
    if (!session) return;
    if (index === 2 * this.#pairs.length) this.#control(session, index);
    else {
      const pair = index >> 1;
      if (pair >= this.#active) return;
      if (index & 1) this.#pairs[pair]?.transmitter?.kick();
      else this.#pairs[pair]?.receiver?.pump();
    }
  }

  reset(): void {
    for (const { receiver, transmitter } of this.#pairs) {
      receiver?.stop();
      transmitter?.stop();
    }
    this.#session = undefined;
    this.#pairs = [];
    this.#setPairs(0);
    this.config.set(CONFIG.status, Uint8Array.of(this.#status & ~S.ANNOUNCE));
  }

  async close(): Promise<void> {
    await this.#options.backend.close?.();
  }

  readable(pair: number): void {
    if (pair < this.#active) this.#session?.run(this.#pairs[pair]!.onReadable);
  }

  writable(pair: number): void {
    if (pair < this.#active) this.#session?.run(this.#pairs[pair]!.onWritable);
  }

  failed(error: unknown): void {
    // A cable that is out, or an interface that is down, fails with every frame: that is said once.
    const text = String(error);
    if (text === this.#told) return;
    this.#told = text;
    this.#options.onHostError?.(error);
  }

  get #status(): number {
    return this.config.bytes[CONFIG.status]!;
  }

  #setStatus(status: number): void {
    this.config.update((view) => view.setUint16(CONFIG.status, status, true));
  }

  /** §5.1.2: where the control queue lies depends on whether the driver knows of more than one pair. */
  #pairLimit({ features }: Session): number {
    return features & F.MQ ? this.#options.backend.pairs : 1;
  }

  #setPairs(pairs: number): void {
    this.#active = pairs;
    this.#options.backend.setPairs(pairs);
  }

  #control(session: Session, index: number): void {
    const queue = session.queues[index];
    if (!queue || !(session.features & F.CTRL_VQ)) return;
    const target = this.#target(session);
    const { interrupt, more } = queue.drain((chain) => {
      const written = serveCommand(chain, target);
      if (written === undefined) this.stats.malformed += 1;
      return written ?? 0;
    });
    if (interrupt) session.interrupt();
    if (more) session.kickLater(index);
  }

  #target(session: Session): ControlTarget {
    const { features } = session;
    return {
      features,
      setMode: (mode, on) => this.#filter.setMode(mode, on),
      setTable: (unicast, multicast) => this.#filter.setTable(unicast, multicast),
      setMac: (mac) => {
        this.config.set(CONFIG.mac, mac);
        this.#filter.setOwn(mac);
      },
      announced: () => this.#setStatus(this.#status & ~S.ANNOUNCE),
      setPairs: (pairs) => {
        if (pairs < 1 || pairs > this.#pairs.length) return false;
        const before = this.#active;
        this.#setPairs(pairs);
        // What the driver made available before it said so.
        for (let pair = before; pair < pairs; pair += 1) {
          session.kickLater(2 * pair);
          session.kickLater(2 * pair + 1);
        }
        return true;
      },
      setOffloads: (offloads) => {
        if (offloads & ~(features & GUEST_OFFLOADS)) return false;
        this.#offloads = offloads;
        this.#options.backend.setOffloads(offloads);
        return true;
      },
    };
  }
}

function featuresOf({ backend, mtu }: NetDeviceOptions): bigint {
  let features = OWN_FEATURES | backend.offloads;
  if (mtu !== undefined) features |= F.MTU;
  if (backend.pairs > 1) features |= F.MQ;
  if (backend.offloads & GUEST_OFFLOADS) features |= F.CTRL_GUEST_OFFLOADS;
  return features;
}

function pairOf(port: NetPort, pair: number): Pair {
  const [rx, tx] = [2 * pair, 2 * pair + 1];
  const { queues } = port.session;
  const [receive, transmit] = [queues[rx], queues[tx]];
  const receiver = receive && new Receiver(port, { queue: receive, index: rx, pair });
  const transmitter = transmit && new Transmitter(port, { queue: transmit, index: tx, pair });
  return {
    receiver,
    transmitter,
    onReadable: () => receiver?.readable(),
    onWritable: () => transmitter?.writable(),
  };
}
