/**
 * All TCP of a guest: which connection a segment is for, what becomes of one that is for none, and the limits of the whole.
 * Runs on: main.
 */
import { randomBytes } from 'node:crypto';
import type { VnetHeader } from '../../../devices/net/backend.js';
import { type Address, flowKey, isV6 } from '../address.js';
import { addWords, finish, fold, pseudoHeader } from '../checksum.js';
import type { Clock } from '../clock.js';
import type { IpOutput } from '../ip-output.js';
import { type IpPacket, PROTOCOL } from '../ip-packet.js';
import { IPV4_HEADER } from '../ipv4.js';
import { IPV6_HEADER } from '../ipv6.js';
import { Allowance } from './allowance.js';
import { Connection } from './connection.js';
import type { TcpHost, TcpPath, TcpUser } from './ends.js';
import {
  FLAG,
  has,
  parseSegment,
  type Segment,
  type SegmentHeader,
  spaceOf,
  TCP_HEADER,
  writeHeader,
} from './segment.js';
import { add } from './sequence.js';
import { TimeWait } from './time-wait.js';

/** Connections at once; a guest's next SYN is refused. */
const MAX_CONNECTIONS = 4096;
/** Bytes beyond their small buffers that all connections have together. */
const POOL = 64 * 2 ** 20;
/** Data of one transmission when the guest's card cuts it: the frame stays below 64 KiB. */
const MAX_BURST = 64_000;
/** struct virtio_net_hdr, virtio 1.2 §5.1.6. */
const NEEDS_CSUM = 1;
const GSO = { NONE: 0, TCPV4: 1, TCPV6: 4 } as const;

export interface TcpEndpointOptions {
  readonly clock: Clock;
  readonly output: IpOutput;
  /** Whether the guest's card fills in checksums and cuts segments. */
  readonly offloads: boolean;
  /** A guest wants to connect: `accept` or `abort` it, at any time. */
  readonly incoming: (connection: Connection) => void;
}

export class TcpEndpoint implements TcpHost {
  readonly clock: Clock;
  readonly pool = new Allowance(POOL);
  /** Segments from the guest that no one could read. */
  damaged = 0;
  readonly #options: TcpEndpointOptions;
  readonly #connections = new Map<string, Connection>();
  readonly #timeWait: TimeWait;
  readonly #blocked = new Set<Connection>();

  constructor(options: TcpEndpointOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.#timeWait = new TimeWait(options.clock);
  }

  get connections(): IterableIterator<Connection> {
    return this.#connections.values();
  }

  get count(): number {
    return this.#connections.size;
  }

  /** Whether these ends are in use, or were a moment ago. */
  isTaken(path: TcpPath): boolean {
    const key = keyOf(path);
    return this.#connections.has(key) || this.#timeWait.get(key) !== undefined;
  }

  /** Opens a connection to the guest. @returns undefined at the limit */
  connect(path: TcpPath, user: TcpUser): Connection | undefined {
    if (this.#connections.size >= MAX_CONNECTIONS) return;
    const connection = Connection.toGuest(this, path, initialSequence(), user);
    this.#connections.set(keyOf(path), connection);
    return connection;
  }

  receive(packet: IpPacket): void {
    const segment = parseSegment(packet);
    if (!segment) {
      this.damaged += 1;
      return;
    }
    const { source: guest, destination: remote } = packet;
    const key = flowKey(guest, segment.sourcePort, remote, segment.destinationPort);
    const connection = this.#connections.get(key);
    if (connection) {
      connection.receive(segment);
      return;
    }
    const path = { guest, guestPort: segment.sourcePort, remote, remotePort: segment.destinationPort };
    const old = this.#timeWait.get(key);
    if (old) {
      // A new connection may take over if its numbers go on where the old one ended (RFC 9293 §3.6.1).
      const next = this.#timeWait.receive(key, segment);
      if (next === 'acknowledge') this.#control(path, { flags: FLAG.ACK, seq: old.seq, ack: old.ack });
      if (next !== 'open') return;
      this.#timeWait.delete(key);
      // Ahead of everything that the old connection sent.
      this.#open(key, path, add(old.seq, 128_000), segment);
      return;
    }
    const opens = has(segment, FLAG.SYN) && !has(segment, FLAG.ACK) && !has(segment, FLAG.RST);
    if (!opens || this.#connections.size >= MAX_CONNECTIONS) {
      this.#refuse(path, segment);
      return;
    }
    this.#open(key, path, initialSequence(), segment);
  }

  /** The guest has room again: connections that wait go on, each with what fits, in turn. */
  resume(): void {
    for (let left = this.#blocked.size; left > 0; left -= 1) {
      const [first] = this.#blocked;
      this.#blocked.delete(first!);
      first!.resume();
      if (this.#blocked.has(first!)) return; // no room again: it is at the end of the line now
    }
  }

  close(): void {
    for (const connection of [...this.#connections.values()]) connection.abort();
    this.#timeWait.close();
  }

  mssOf(guest: Address): number {
    return this.#options.output.mtu - (isV6(guest) ? IPV6_HEADER : IPV4_HEADER) - TCP_HEADER;
  }

  burstOf(mss: number): number {
    return this.#options.offloads ? Math.max(mss, MAX_BURST - (MAX_BURST % mss)) : mss;
  }

  transmit(connection: Connection, header: SegmentHeader, offset: number, length: number): boolean {
    const { path, sender } = connection;
    const area = this.#options.output.area(path.guest);
    const start = writeHeader(area, header);
    if (length > 0) sender.copy(offset, area.subarray(start, start + length));
    const sent = this.#sendArea(path, start, length, sender.mss);
    if (!sent) this.#blocked.add(connection);
    return sent;
  }

  closed(connection: Connection): void {
    const key = keyOf(connection.path);
    this.#connections.delete(key);
    this.#blocked.delete(connection);
    if (connection.state === 'time-wait') this.#timeWait.add(key, connection.next);
  }

  #open(key: string, path: TcpPath, iss: number, syn: Segment): void {
    const connection = Connection.fromGuest(this, path, iss, syn);
    this.#connections.set(key, connection);
    this.#options.incoming(connection);
  }

  /** RFC 9293 §3.10.7.1: a RST that the guest will believe. */
  #refuse(path: TcpPath, segment: Segment): void {
    if (has(segment, FLAG.RST)) return;
    if (has(segment, FLAG.ACK)) {
      this.#control(path, { flags: FLAG.RST, seq: segment.ack, ack: 0 });
      return;
    }
    const ack = add(segment.seq, spaceOf(segment));
    this.#control(path, { flags: FLAG.RST | FLAG.ACK, seq: 0, ack });
  }

  /** A segment without data that belongs to no connection. */
  #control(path: TcpPath, numbers: { flags: number; seq: number; ack: number }): void {
    const area = this.#options.output.area(path.guest);
    const ports = { sourcePort: path.remotePort, destinationPort: path.guestPort };
    this.#sendArea(path, writeHeader(area, { ...ports, ...numbers, window: 0 }), 0, 0);
  }

  #sendArea({ guest, remote }: TcpPath, start: number, length: number, mss: number): boolean {
    const { output, offloads } = this.#options;
    const area = output.area(guest);
    const size = start + length;
    const pseudo = pseudoHeader(remote, guest, PROTOCOL.TCP, size);
    const sum = offloads ? fold(pseudo) : finish(addWords(area, 0, size, pseudo));
    area[16] = sum >>> 8;
    area[17] = sum & 0xff;
    const header = offloads ? vnetHeader(output.headers(guest), start, length, mss, isV6(guest)) : undefined;
    return output.send({ source: remote, destination: guest, protocol: PROTOCOL.TCP, length: size, header });
  }
}

const keyOf = ({ guest, guestPort, remote, remotePort }: TcpPath): string =>
  flowKey(guest, guestPort, remote, remotePort);

/** Not to be guessed (RFC 9293 §3.4.1). */
const initialSequence = (): number => randomBytes(4).readUInt32LE();

/** What is left to the guest's card: the checksum, and cutting what is longer than a segment. */
function vnetHeader(headers: number, start: number, length: number, mss: number, v6: boolean): VnetHeader {
  const cut = length > mss;
  return {
    flags: NEEDS_CSUM,
    gsoType: cut ? (v6 ? GSO.TCPV6 : GSO.TCPV4) : GSO.NONE,
    hdrLen: cut ? headers + start : 0,
    gsoSize: cut ? mss : 0,
    csumStart: headers,
    csumOffset: 16,
  };
}
