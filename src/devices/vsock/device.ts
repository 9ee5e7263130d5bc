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
import type { Connection, ConnectionOwner } from './connection.js';
import { ConnectionTable, type VsockLimits } from './connection-table.js';
import { Events } from './events.js';
import { type PacketHeader, readHeader } from './packet.js';
import { CONFIG, DEVICE_ID, F, HEADER, HOST_CID, OP, QUEUE, TYPE } from './protocol.js';
import { Refusals } from './refusals.js';

export type { VsockLimits } from './connection-table.js';

const QUEUE_SIZE = 256;
const EVENT_QUEUE_SIZE = 16;
/** Bytes moved in one turn of the event loop, each way; a packet counts as 2 KiB at least. */
const MAX_TURN = 256 * 1024;
const LEAST_COST = 2048;
const LIMITS: VsockLimits = { connections: 4096, window: 256 * 1024, closeMs: 2000 };

export class VsockDevice implements VirtioDevice, ConnectionOwner {
  readonly type = DEVICE_ID;
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE, EVENT_QUEUE_SIZE];
  readonly features = F.STREAM;
  readonly config: ConfigSpace;
  readonly hostCid = HOST_CID;
  /** `packets` from the guest, `sent` and `received` bytes of payload, `resets` sent, `dropped` packets of another's address. */
  readonly stats = { connections: 0, packets: 0, received: 0, sent: 0, resets: 0, dropped: 0 };
  readonly #connections: ConnectionTable;
  /** Whose turn it is, in order. */
  readonly #waiting = new Set<Connection>();
  readonly #refusals = new Refusals();
  #session: Session | undefined;
  /** In one of the queues' turns: what is to be sent goes out at its end. */
  #busy = false;
  /** The tx queue waits until there is room for answers. */
  #stalled = false;
  /** Buffers of the tx queue were used, of which the guest has not been told. */
  #txUsed = false;
  readonly #events = new Events();

  /** @param guestCid 3 to 2^32 - 2 */
  constructor(
    readonly name: string,
    readonly guestCid: number,
    private readonly host: VsockHost,
    limits: Partial<VsockLimits> = {},
  ) {
    this.#connections = new ConnectionTable({ ...LIMITS, ...limits });
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
    this.#refusals.clear();
    this.#stalled = this.#txUsed = false;
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
    if (this.#connections.isFull) return undefined;
    const connection = this.#add(this.#connections.freePort(guestPort), guestPort);
    connection.request(end, timeoutMs);
    return connection;
  }

  /** The guest was moved in time: its connections are gone, and it is told (§5.10.6.7). */
  transportReset(): void {
    this.#loseAll();
    this.#refusals.clear();
    this.#events.transportReset = true;
    this.#session?.run(() => this.#tellEvents());
  }

  wake(connection: Connection): void {
    this.#waiting.add(connection);
    if (!this.#busy) this.#session?.run(() => this.#deliver());
  }

  forget(connection: Connection, tellGuest: boolean): void {
    this.#connections.delete(connection);
    this.#waiting.delete(connection);
    this.stats.connections = this.#connections.size;
    if (!tellGuest) return;
    const { hostPort, guestPort } = connection;
    const ports = { srcPort: guestPort, dstPort: hostPort };
    this.#refusals.add({ srcCid: this.guestCid, dstCid: HOST_CID, ...ports, type: TYPE.STREAM });
    if (!this.#busy) this.#session?.run(() => this.#deliver());
  }

  #tellEvents(): void {
    if (this.#session) this.#events.tell(this.#session);
  }

  #add(hostPort: number, guestPort: number): Connection {
    const connection = this.#connections.add(hostPort, guestPort, this);
    this.stats.connections = this.#connections.size;
    return connection;
  }

  #loseAll(): void {
    for (const connection of this.#connections.all()) connection.lost();
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
      while (!this.#refusals.isFull) {
        const chain = queue.pop();
        if (!chain) break;
        const header = readHeader(chain);
        this.stats.packets += 1;
        this.#packet(header, chain);
        queue.push(chain, 0);
        this.#tellTxLater(session);
        cost += Math.max(header.length, LEAST_COST);
        if (cost >= MAX_TURN) {
          session.kickLater(QUEUE.TX);
          return;
        }
      }
      this.#stalled = this.#refusals.isFull;
    } while (!this.#stalled && queue.rearm());
  }

  /**
   * A driver waits for answers to its packets, not for the packets' buffers: what an answer of this turn does not take along is told at
   * the turn's end. A byte there and back costs the guest one interrupt, not two.
   */
  #tellTxLater(session: Session): void {
    if (this.#txUsed) return;
    this.#txUsed = true;
    setImmediate(() => {
      if (this.#txUsed && session === this.#session) this.#tellTx(session);
    });
  }

  #tellTx(session: Session): void {
    this.#txUsed = false;
    session.publishSoon(QUEUE.TX);
  }

  #packet(header: PacketHeader, chain: Chain): void {
    // Whoever sends in another's name gets no answer, and neither does an RST.
    if (header.srcCid !== this.guestCid || header.dstCid < 0) {
      this.stats.dropped += 1;
      return;
    }
    const known = header.type === TYPE.STREAM && header.dstCid === HOST_CID;
    const connection = known && this.#connections.find(header.dstPort, header.srcPort);
    if (connection) {
      if (header.op === OP.RW) this.stats.received += header.length;
      connection.packet(header, chain);
    } else if (known && header.op === OP.REQUEST) this.#request(header);
    else if (header.op !== OP.RST) this.#refusals.add(header);
  }

  #request(header: PacketHeader): void {
    if (this.#connections.isFull) {
      this.#refusals.add(header);
      return;
    }
    const connection = this.#add(header.dstPort, header.srcPort);
    const end = this.host.connecting(connection);
    if (!end) connection.reset();
    else connection.asked(header, end);
  }

  #deliver(): void {
    this.#turn((session, queue) => this.#fill(session, queue), QUEUE.RX);
    if (this.#stalled && this.#refusals.hasRoom) {
      this.#stalled = false;
      this.#session?.kickLater(QUEUE.TX);
    }
  }

  #fill(session: Session, queue: Queue): void {
    for (let cost = 0; this.#refusals.size > 0 || this.#waiting.size > 0; ) {
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
      if (this.#txUsed) this.#tellTx(session);
      cost += Math.max(bytes, LEAST_COST);
    }
  }

  /** The next packet for the guest. @returns its bytes; 0: there is none after all */
  #fillOne(chain: Chain): number {
    if (this.#refusals.size > 0) {
      this.stats.resets += 1;
      return this.#refusals.fill(chain);
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
}
