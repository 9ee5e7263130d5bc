/**
 * UDP through sockets of the host, one for each pair of ends, connected, so that only whom the guest has written to can answer.
 * Flows end when they are idle, and the one idle longest when there are too many. What does not fit is dropped, as UDP is.
 * Runs on: main.
 */
import { createSocket, type Socket } from 'node:dgram';
import { type Address, flowKey, isV6 } from './address.js';
import type { Clock } from './clock.js';
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

interface UdpFlow {
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
    const { source, sourcePort, destination, destinationPort, packet } = datagram;
    const key = flowKey(source, sourcePort, destination, destinationPort);
    let entry = this.#flows.get(key);
    if (!entry) {
      const flow: Flow = {
        proto: 'udp',
        guest: source,
        guestPort: sourcePort,
        address: destination,
        port: destinationPort,
      };
      entry = { flow, socket: undefined, state: 'asked', lastUsed: 0, waiting: [], last: quotable(packet) };
      this.#add(key, entry);
      const started = entry;
      this.#start(key, started).catch(() => this.#end(key, started));
    }
    this.#use(key, entry);
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
    for (const [key, entry] of [...this.#flows]) {
      if (entry.state === 'refused' || !this.#options.gate.stillAllows(entry.flow)) this.#end(key, entry);
    }
  }

  close(): void {
    for (const [key, entry] of [...this.#flows]) this.#end(key, entry);
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  #add(key: string, entry: UdpFlow): void {
    const [oldest] = this.#flows;
    if (this.#flows.size >= MAX_FLOWS && oldest) this.#end(...oldest);
    this.#flows.set(key, entry);
    this.#cancelSweep ??= this.#options.clock.after(SWEEP_MS, () => this.#sweep());
  }

  #use(key: string, entry: UdpFlow): void {
    // A refusal is judged anew after a while even if the guest goes on trying.
    if (entry.state === 'refused') return;
    entry.lastUsed = this.#options.clock.now();
    this.#flows.delete(key);
    this.#flows.set(key, entry);
  }

  async #start(key: string, entry: UdpFlow): Promise<void> {
    const route = await this.#options.gate.route(entry.flow);
    if (route.to === 'stream') route.stream.destroy();
    if (this.#flows.get(key) !== entry) return;
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
      if (entry.state !== 'open') this.#end(key, entry);
    });
    socket.on('message', (data) => this.#answer(key, entry, data));
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

  #answer(key: string, entry: UdpFlow, data: Uint8Array): void {
    this.#use(key, entry);
    const { guest, guestPort, address, port } = entry.flow;
    const ends = { source: address, sourcePort: port, destination: guest, destinationPort: guestPort };
    if (!sendUdp(this.#options.output, { ...ends, data })) this.dropped += 1;
  }

  #end(key: string, entry: UdpFlow): void {
    if (this.#flows.get(key) === entry) this.#flows.delete(key);
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
    for (const [key, entry] of [...this.#flows]) {
      const limit = entry.state === 'refused' ? REFUSED_MS : IDLE_MS;
      if (now - entry.lastUsed >= limit) this.#end(key, entry);
    }
    const more = this.#flows.size > 0;
    this.#cancelSweep = more ? this.#options.clock.after(SWEEP_MS, () => this.#sweep()) : undefined;
  }
}

/** Enough of a packet for an ICMP error, and no more of the frame. */
const quotable = (packet: IpPacket): IpPacket => ({
  ...packet,
  payload: packet.payload.slice(0, 8),
  raw: packet.raw.slice(0, isV6(packet.source as Address) ? 96 : 68),
});
