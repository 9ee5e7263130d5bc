/**
 * UDP through sockets of the host, one for each pair of ends, connected, so that only whom the guest has written to can answer.
 * Flows end when they are idle, and the one idle longest when there are too many. What does not fit is dropped, as UDP is.
 * Runs on: main.
 */
import { createSocket, type Socket } from 'node:dgram';
import { flowKey, isV6 } from './address.js';
import type { Clock } from './clock.js';
import { sameBytes } from './ethernet.js';
import type { Flow, Gate } from './gate.js';
import type { Icmp } from './icmp.js';
import type { IpOutput } from './ip-output.js';
import type { IpPacket } from './ip-packet.js';
import { type Datagram, sendUdp } from './udp.js';

/** RFC 4787 REQ-5 wants 2 minutes at least for a flow in use. */
const IDLE_MS = 120_000;
/** A flow that was refused is not judged again for this long. */
const REFUSED_MS = 5_000;
const SWEEP_MS = 5_000;
const MAX_FLOWS = 512;
/** Datagrams that wait while a flow is judged. */
const MAX_WAITING = 8;
/** Bytes that a socket may have unsent. */
const MAX_UNSENT = 2 ** 20;
/** A frame of so many bytes is kept whole for an error that may quote it: a copy of its head would cost more. */
const SMALL_FRAME = 2048;

interface UdpFlow {
  readonly key: string;
  readonly flow: Flow;
  socket: Socket | undefined;
  state: 'asked' | 'connecting' | 'open' | 'refused';
  lastUsed: number;
  readonly waiting: Uint8Array[];
  /** The guest's last packet, for an error that quotes it. */
  last: IpPacket;
}

export interface UdpRelayOptions {
  readonly clock: Clock;
  readonly gate: Gate;
  readonly output: IpOutput;
  readonly icmp: Icmp;
}

export class UdpRelay {
  readonly #options: UdpRelayOptions;
  /** Longest unused first. */
  readonly #flows = new Map<string, UdpFlow>();
  /** The one used last, at the end of `#flows`: nearly every datagram belongs to it. */
  #recent: UdpFlow | undefined;
  #cancelSweep: (() => void) | undefined;
  /** Datagrams that were dropped because something was full. */
  dropped = 0;

  constructor(options: UdpRelayOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#flows.size;
  }

  /** Whether there is a flow between these ends. */
  has(key: string): boolean {
    return this.#flows.has(key);
  }

  take(datagram: Datagram): void {
    const { packet } = datagram;
    const recent = this.#recent;
    const entry = recent && isOf(recent.flow, datagram) ? recent : this.#flowOf(datagram);
    this.#use(entry);
    if (entry.state === 'refused') {
      this.#options.icmp.unreachable(packet, 'prohibited');
      return;
    }
    entry.last = quotable(packet);
    if (entry.state === 'open') this.#send(entry, datagram.data);
    else if (entry.waiting.length < MAX_WAITING) entry.waiting.push(datagram.data.slice());
    else this.dropped += 1;
  }

  /** Ends what the gate does not allow any more. */
  review(): void {
    for (const entry of [...this.#flows.values()]) {
      if (entry.state === 'refused' || !this.#options.gate.stillAllows(entry.flow)) this.#end(entry);
    }
  }

  close(): void {
    for (const entry of [...this.#flows.values()]) this.#end(entry);
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  /** The flow between a datagram's ends; a new one is about to be judged. */
  #flowOf({ source, sourcePort, destination, destinationPort, packet }: Datagram): UdpFlow {
    const key = flowKey(source, sourcePort, destination, destinationPort);
    const known = this.#flows.get(key);
    if (known) return known;
    const flow: Flow = {
      proto: 'udp',
      guest: source,
      guestPort: sourcePort,
      address: destination,
      port: destinationPort,
    };
    const last = quotable(packet);
    const entry: UdpFlow = { key, flow, socket: undefined, state: 'asked', lastUsed: 0, waiting: [], last };
    this.#add(entry);
    this.#start(entry).catch(() => this.#end(entry));
    return entry;
  }

  #add(entry: UdpFlow): void {
    const [oldest] = this.#flows.values();
    if (this.#flows.size >= MAX_FLOWS && oldest) this.#end(oldest);
    this.#flows.set(entry.key, entry);
    this.#cancelSweep ??= this.#options.clock.after(SWEEP_MS, () => this.#sweep());
  }

  #use(entry: UdpFlow): void {
    // A refusal is judged anew after a while even if the guest goes on trying.
    if (entry.state === 'refused') return;
    entry.lastUsed = this.#options.clock.now();
    if (entry === this.#recent) return;
    this.#flows.delete(entry.key);
    this.#flows.set(entry.key, entry);
    this.#recent = entry;
  }

  async #start(entry: UdpFlow): Promise<void> {
    const route = await this.#options.gate.route(entry.flow);
    if (route.to === 'stream') route.stream.destroy();
    if (this.#flows.get(entry.key) !== entry) return;
    if (route.to !== 'host') {
      entry.state = 'refused';
      entry.waiting.length = 0;
      this.#options.icmp.unreachable(entry.last, 'prohibited');
      return;
    }
    const socket = createSocket(route.address.includes(':') ? 'udp6' : 'udp4');
    entry.socket = socket;
    entry.state = 'connecting';
    socket.on('error', () => {
      this.#options.icmp.unreachable(entry.last, entry.state === 'open' ? 'port' : 'network');
      // One refusal does not end a flow: the service may come up.
      if (entry.state !== 'open') this.#end(entry);
    });
    socket.on('message', (data) => this.#answer(entry, data));
    socket.once('connect', () => {
      entry.state = 'open';
      for (const data of entry.waiting.splice(0)) this.#send(entry, data);
    });
    socket.connect(route.port, route.address);
  }

  #send({ socket }: UdpFlow, data: Uint8Array): void {
    if (!socket || socket.getSendQueueSize() > MAX_UNSENT) {
      this.dropped += 1;
      return;
    }
    socket.send(data);
  }

  #answer(entry: UdpFlow, data: Uint8Array): void {
    this.#use(entry);
    const { guest, guestPort, address, port } = entry.flow;
    const ends = { source: address, sourcePort: port, destination: guest, destinationPort: guestPort };
    if (!sendUdp(this.#options.output, { ...ends, data })) this.dropped += 1;
  }

  #end(entry: UdpFlow): void {
    if (this.#flows.get(entry.key) === entry) this.#flows.delete(entry.key);
    if (this.#recent === entry) this.#recent = undefined;
    const { socket } = entry;
    entry.socket = undefined;
    entry.state = 'refused';
    if (!socket) return;
    socket.removeAllListeners();
    socket.on('error', () => {}); // one may be on its way; there is no one left to tell
    socket.close();
  }

  #sweep(): void {
    const now = this.#options.clock.now();
    for (const entry of [...this.#flows.values()]) {
      const limit = entry.state === 'refused' ? REFUSED_MS : IDLE_MS;
      if (now - entry.lastUsed >= limit) this.#end(entry);
    }
    const more = this.#flows.size > 0;
    this.#cancelSweep = more ? this.#options.clock.after(SWEEP_MS, () => this.#sweep()) : undefined;
  }
}

const isOf = (flow: Flow, { source, sourcePort, destination, destinationPort }: Datagram): boolean =>
  flow.guestPort === sourcePort &&
  flow.port === destinationPort &&
  sameBytes(flow.address, destination) &&
  sameBytes(flow.guest, source);

/** Enough of a packet for an ICMP error, and no more of a large frame. */
function quotable(packet: IpPacket): IpPacket {
  const { payload, raw, source } = packet;
  if (raw.buffer.byteLength <= SMALL_FRAME && payload.buffer.byteLength <= SMALL_FRAME) return packet;
  return { ...packet, payload: payload.slice(0, 8), raw: raw.slice(0, isV6(source) ? 96 : 68) };
}
