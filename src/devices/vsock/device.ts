/**
 * Socket device (virtio 1.2 §5.10): stream connections between guest programs and the host. What a connection may do is in
 * connection.ts; here are the queues, the table of connections, and whose turn it is.
 *
 *  1. Connections that have something to send take turns, one packet each.
 *  2. Answers that find no room in the rx queue wait here, a limited number; beyond that the tx queue waits (§5.10.6.1).
 *  3. A turn of the event loop handles a limited number of packets and bytes.
 *
 * Runs on: main.
 */
import { ConfigSpace } from '../../virtio/config-space.js';
import type { Session, VirtioDevice } from '../../virtio/device.js';
import type { Chain, Queue } from '../../virtio/queue.js';
import type { GuestStream, HostEnd, VsockHost } from './backend.js';
import { Connection, type ConnectionLimits, type ConnectionOwner } from './connection.js';
import { type PacketHeader, readHeader, roomIn, writeHeader } from './packet.js';
import { CONFIG, DEVICE_ID, EVENT, F, HEADER, HOST_CID, OP, QUEUE, TYPE } from './protocol.js';

const QUEUE_SIZE = 256;
const EVENT_QUEUE_SIZE = 16;
/** Bytes moved in one turn of the event loop, each way; a packet counts as 2 KiB at least. */
const MAX_TURN = 256 * 1024;
const LEAST_COST = 2048;
/** Packets for nobody whose RST may wait; then the tx queue waits. */
const MAX_RESETS = 256;
/** Ports of connections from the host start here, as Firecracker's do. */
const FIRST_HOST_PORT = 2 ** 30;

export interface VsockLimits extends ConnectionLimits {
  /** At once; further ones are refused. */
  readonly connections: number;
}

const LIMITS: VsockLimits = { connections: 4096, window: 256 * 1024, closeMs: 2000 };
/** Connections beyond this many have a quarter of the window: what a guest can make the host keep is 304 MiB in all. */
const FEW = 256;

/** A packet to be answered by RST. */
type Unwanted = Pick<PacketHeader, 'srcCid' | 'dstCid' | 'srcPort' | 'dstPort' | 'type'>;

const keyOf = (hostPort: number, guestPort: number): string => `${hostPort}:${guestPort}`;

export class VsockDevice implements VirtioDevice, ConnectionOwner {
  readonly type = DEVICE_ID;
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE, EVENT_QUEUE_SIZE];
  readonly features = F.STREAM;
  readonly config: ConfigSpace;
  readonly hostCid = HOST_CID;
  /** `packets` from the guest, `sent` and `received` bytes of payload, `resets` sent, `dropped` packets of another's address. */
  readonly stats = { connections: 0, packets: 0, received: 0, sent: 0, resets: 0, dropped: 0 };
  readonly #limits: VsockLimits;
  readonly #connections = new Map<string, Connection>();
  /** Whose turn it is, in order. */
  readonly #waiting = new Set<Connection>();
  readonly #resets: Unwanted[] = [];
  #session: Session | undefined;
  #nextPort = FIRST_HOST_PORT;
  /** In one of the queues' turns: what is to be sent goes out at its end. */
  #busy = false;
  #stalled = false;
  #resetUntold = false;

  /** @param guestCid 3 to 2^32 - 2 */
  constructor(
    readonly name: string,
    readonly guestCid: number,
    private readonly host: VsockHost,
    limits: Partial<VsockLimits> = {},
  ) {
    this.#limits = { ...LIMITS, ...limits };
    this.config = new ConfigSpace(CONFIG.SIZE, (view) => view.setUint32(CONFIG.guest_cid, guestCid, true));
  }

  activate(session: Session): void {
    this.#session = session;
    // What the host asked for before there was a driver waits.
    session.kickLater(QUEUE.RX);
  }

  kick(index: number): void {
    if (index === QUEUE.EVENT) this.#tellEvents();
    else {
      if (index === QUEUE.TX) this.#turn((session, queue) => this.#transmit(session, queue), QUEUE.TX);
      this.#deliver();
    }
  }

  reset(): void {
    this.#session = undefined;
    this.#resets.length = 0;
    this.#stalled = false;
    this.#loseAll();
  }

  close(): void | Promise<void> {
    this.#loseAll();
    return this.host.close?.();
  }

  /**
   * Connects to a port of the guest. Before the guest's driver is there, the request waits for it.
   * @param timeoutMs for the guest's answer
   * @returns undefined when there are too many connections
   */
  connect(guestPort: number, end: HostEnd, timeoutMs: number): GuestStream | undefined {
    if (this.#connections.size >= this.#limits.connections) return undefined;
    let hostPort: number;
    do {
      hostPort = this.#nextPort;
      this.#nextPort = hostPort === 0xffff_fffe ? FIRST_HOST_PORT : hostPort + 1;
    } while (this.#connections.has(keyOf(hostPort, guestPort)));
    const connection = this.#add(hostPort, guestPort);
    connection.request(end, timeoutMs);
    return connection;
  }

  /** The guest was moved in time: its connections are gone, and it is told (§5.10.6.7). */
  transportReset(): void {
    this.#loseAll();
    this.#resets.length = 0;
    this.#resetUntold = true;
    this.#session?.run(() => this.#tellEvents());
  }

  wake(connection: Connection): void {
    this.#waiting.add(connection);
    if (!this.#busy) this.#session?.run(() => this.#deliver());
  }

  forget(connection: Connection, tellGuest: boolean): void {
    const { hostPort, guestPort } = connection;
    this.#connections.delete(keyOf(hostPort, guestPort));
    this.#waiting.delete(connection);
    this.stats.connections = this.#connections.size;
    if (!tellGuest) return;
    this.#refuse({
      srcCid: this.guestCid,
      dstCid: HOST_CID,
      srcPort: guestPort,
      dstPort: hostPort,
      type: TYPE.STREAM,
    });
    if (!this.#busy) this.#session?.run(() => this.#deliver());
  }

  #add(hostPort: number, guestPort: number): Connection {
    const { window, closeMs } = this.#limits;
    const limits = { closeMs, window: this.#connections.size < FEW ? window : window / 4 };
    const connection = new Connection({ hostPort, guestPort }, this, limits);
    this.#connections.set(keyOf(hostPort, guestPort), connection);
    this.stats.connections = this.#connections.size;
    return connection;
  }

  #loseAll(): void {
    for (const connection of [...this.#connections.values()]) connection.lost();
  }

  #turn(work: (session: Session, queue: Queue) => void, index: number): void {
    const session = this.#session;
    const queue = session?.queues[index];
    if (!session || !queue || this.#busy) return;
    this.#busy = true;
    try {
      work(session, queue);
    } finally {
      this.#busy = false;
    }
  }

  #transmit(session: Session, queue: Queue): void {
    let cost = 0;
    do {
      while (this.#resets.length < MAX_RESETS) {
        const chain = queue.pop();
        if (!chain) break;
        const header = readHeader(chain);
        this.stats.packets += 1;
        this.#packet(header, chain);
        queue.push(chain, 0);
        session.publishSoon(QUEUE.TX);
        cost += Math.max(header.length, LEAST_COST);
        if (cost >= MAX_TURN) {
          session.kickLater(QUEUE.TX);
          return;
        }
      }
      this.#stalled = this.#resets.length >= MAX_RESETS;
    } while (!this.#stalled && queue.rearm());
  }

  #packet(header: PacketHeader, chain: Chain): void {
    // Whoever sends in another's name gets no answer, and neither does an RST.
    if (header.srcCid !== this.guestCid || header.dstCid < 0) {
      this.stats.dropped += 1;
      return;
    }
    const known = header.type === TYPE.STREAM && header.dstCid === HOST_CID;
    const connection = known && this.#connections.get(keyOf(header.dstPort, header.srcPort));
    if (connection) {
      if (header.op === OP.RW) this.stats.received += header.length;
      connection.packet(header, chain);
    } else if (known && header.op === OP.REQUEST) this.#request(header);
    else if (header.op !== OP.RST) this.#refuse(header);
  }

  #request(header: PacketHeader): void {
    if (this.#connections.size >= this.#limits.connections) {
      this.#refuse(header);
      return;
    }
    const connection = this.#add(header.dstPort, header.srcPort);
    const end = this.host.connecting(connection);
    if (!end) connection.reset();
    else connection.asked(header, end);
  }

  #refuse({ srcCid, dstCid, srcPort, dstPort, type }: Unwanted): void {
    this.#resets.push({ srcCid, dstCid, srcPort, dstPort, type });
  }

  #deliver(): void {
    this.#turn((session, queue) => this.#fill(session, queue), QUEUE.RX);
    if (this.#stalled && this.#resets.length <= MAX_RESETS / 2) {
      this.#stalled = false;
      this.#session?.kickLater(QUEUE.TX);
    }
  }

  #fill(session: Session, queue: Queue): void {
    for (let cost = 0; this.#resets.length > 0 || this.#waiting.size > 0; ) {
      if (cost >= MAX_TURN) {
        session.kickLater(QUEUE.RX);
        return;
      }
      const chain = queue.pop() ?? (queue.rearm() ? queue.pop() : undefined);
      if (!chain) return;
      const bytes = this.#fillOne(chain);
      if (bytes === 0) {
        queue.unpop();
        return;
      }
      queue.push(chain, bytes);
      session.publishSoon(QUEUE.RX);
      cost += Math.max(bytes, LEAST_COST);
    }
  }

  /** The next packet for the guest. @returns its bytes; 0: there is none after all */
  #fillOne(chain: Chain): number {
    const unwanted = this.#resets.shift();
    if (unwanted) {
      roomIn(chain);
      this.stats.resets += 1;
      const { srcCid, dstCid, srcPort, dstPort, type } = unwanted;
      return writeHeader(chain, {
        srcCid: dstCid,
        dstCid: srcCid,
        srcPort: dstPort,
        dstPort: srcPort,
        type,
        op: OP.RST,
      });
    }
    for (const connection of this.#waiting) {
      this.#waiting.delete(connection);
      const bytes = connection.fill(chain);
      if (bytes === 0) continue;
      this.stats.sent += bytes - HEADER.SIZE;
      // To the end of the line.
      if (connection.wants) this.#waiting.add(connection);
      return bytes;
    }
    return 0;
  }

  #tellEvents(): void {
    const session = this.#session;
    const queue = session?.queues[QUEUE.EVENT];
    if (!session || !queue || !this.#resetUntold) return;
    const chain = queue.pop() ?? (queue.rearm() ? queue.pop() : undefined);
    if (!chain) return;
    this.#resetUntold = false;
    let written = 0;
    for (const piece of chain.writable) {
      const part = piece.subarray(0, EVENT.SIZE - written);
      part.fill(EVENT.TRANSPORT_RESET);
      written += part.length;
    }
    queue.push(chain, written);
    session.publishSoon(QUEUE.EVENT);
  }
}
