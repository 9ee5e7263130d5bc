/**
 * UDP ports of the host that lead to the guest. Every client becomes a flow of its own, from a port of the gateway's, so that the guest's
 * answers find their way back. Flows end when they are idle, and the one idle longest when there are too many.
 * Runs on: main.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { type Address, flowKey } from './address.js';
import type { Clock } from './clock.js';
import type { IpOutput } from './ip-output.js';
import { type Datagram, sendUdp } from './udp.js';

/** As in the other direction: udp-relay.ts. */
const IDLE_MS = 120_000;
const SWEEP_MS = 5_000;
const MAX_FLOWS = 512;
/** Bytes that a socket may have unsent. */
const MAX_UNSENT = 2 ** 20;
/** Ports that clients come from when their own is taken. */
const EPHEMERAL = { FIRST: 49_152, COUNT: 16_384 } as const;

export interface UdpForwardPlace {
  readonly clock: Clock;
  readonly output: IpOutput;
  readonly gateway: Address;
  /** The guest's address now. */
  guest(): Address;
  /** Whether the guest itself talks between these ends. */
  isTaken(key: string): boolean;
}

/** A port that is open. */
export interface UdpPort {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

interface ClientFlow {
  readonly socket: Socket;
  /** Among the clients of all sockets. */
  readonly client: string;
  readonly address: string;
  readonly port: number;
  /** The gateway's. */
  readonly from: number;
  lastUsed: number;
}

export class UdpForwards {
  readonly #place: UdpForwardPlace;
  /** By the ends that the guest sees; longest unused first. */
  readonly #flows = new Map<string, ClientFlow>();
  /** Client → key in `#flows`. */
  readonly #clients = new Map<string, string>();
  readonly #sockets = new Map<Socket, number>();
  #nextSocket = 0;
  #nextPort = 0;
  #cancelSweep: (() => void) | undefined;
  /** Datagrams that found no room. */
  dropped = 0;

  constructor(place: UdpForwardPlace) {
    this.#place = place;
  }

  get count(): number {
    return this.#flows.size;
  }

  /** @throws the socket's error, with its code, when the port cannot be had */
  async open(host: string, port: number, guestPort: number): Promise<UdpPort> {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        socket.bind(port, host, resolve);
      });
    } catch (error) {
      socket.close();
      throw error;
    }
    socket.removeAllListeners('error');
    socket.on('error', () => {}); // of one datagram; the next one may pass
    this.#sockets.set(socket, this.#nextSocket++);
    socket.on('message', (data, client) => this.#toGuest(socket, guestPort, data, client));
    const bound = socket.address();
    return { host: bound.address, port: bound.port, close: () => this.#close(socket) };
  }

  /** Takes what the guest sends, if it is an answer to a client. @returns whether it is */
  take({ source, sourcePort, destination, destinationPort, data }: Datagram): boolean {
    const key = flowKey(source, sourcePort, destination, destinationPort);
    const flow = this.#flows.get(key);
    if (!flow) return false;
    this.#use(key, flow);
    if (flow.socket.getSendQueueSize() > MAX_UNSENT) this.dropped += 1;
    else flow.socket.send(data, flow.port, flow.address);
    return true;
  }

  close(): void {
    for (const socket of [...this.#sockets.keys()]) void this.#close(socket);
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  async #close(socket: Socket): Promise<void> {
    if (!this.#sockets.delete(socket)) return;
    for (const [key, flow] of [...this.#flows]) if (flow.socket === socket) this.#end(key, flow);
    socket.removeAllListeners('message');
    await new Promise<void>((resolve) => socket.close(() => resolve()));
  }

  #toGuest(socket: Socket, guestPort: number, data: Uint8Array, { address, port }: RemoteInfo): void {
    const { gateway, output } = this.#place;
    const guest = this.#place.guest();
    const client = `${this.#sockets.get(socket)} ${address} ${port}`;
    let key = this.#clients.get(client);
    let flow = key === undefined ? undefined : this.#flows.get(key);
    if (key === undefined || !flow) {
      const from = this.#portFor(port, guest, guestPort);
      if (from === 0) {
        this.dropped += 1;
        return;
      }
      key = flowKey(guest, guestPort, gateway, from);
      flow = { socket, client, address, port, from, lastUsed: 0 };
      this.#add(key, flow);
    }
    this.#use(key, flow);
    const ends = {
      source: gateway,
      sourcePort: flow.from,
      destination: guest,
      destinationPort: guestPort,
    };
    if (!sendUdp(output, { ...ends, data })) this.dropped += 1;
  }

  /** The client's own port if it is free on the guest's side. @returns 0 when none is */
  #portFor(own: number, guest: Address, guestPort: number): number {
    const isFree = (port: number): boolean => {
      const key = flowKey(guest, guestPort, this.#place.gateway, port);
      return !this.#flows.has(key) && !this.#place.isTaken(key);
    };
    if (isFree(own)) return own;
    for (let count = 0; count < EPHEMERAL.COUNT; count += 1) {
      this.#nextPort = (this.#nextPort + 1) % EPHEMERAL.COUNT;
      if (isFree(EPHEMERAL.FIRST + this.#nextPort)) return EPHEMERAL.FIRST + this.#nextPort;
    }
    return 0;
  }

  #add(key: string, flow: ClientFlow): void {
    const [oldest] = this.#flows;
    if (this.#flows.size >= MAX_FLOWS && oldest) this.#end(...oldest);
    this.#flows.set(key, flow);
    this.#clients.set(flow.client, key);
    this.#cancelSweep ??= this.#place.clock.after(SWEEP_MS, () => this.#sweep());
  }

  #use(key: string, flow: ClientFlow): void {
    flow.lastUsed = this.#place.clock.now();
    this.#flows.delete(key);
    this.#flows.set(key, flow);
  }

  #end(key: string, flow: ClientFlow): void {
    this.#flows.delete(key);
    this.#clients.delete(flow.client);
  }

  #sweep(): void {
    const now = this.#place.clock.now();
    for (const [key, flow] of [...this.#flows]) if (now - flow.lastUsed >= IDLE_MS) this.#end(key, flow);
    const more = this.#flows.size > 0;
    this.#cancelSweep = more ? this.#place.clock.after(SWEEP_MS, () => this.#sweep()) : undefined;
  }
}
