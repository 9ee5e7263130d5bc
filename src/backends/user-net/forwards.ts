/**
 * Ports of the host that lead to the guest: a listening socket each, and a connection to the guest for every one that comes in,
 * from the gateway's address; udp-forwards.ts has those for UDP. They can be added and removed at any time.
 * Runs on: main.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { listenError } from '../../base/listen-error.js';
import type { Address } from './address.js';
import type { TcpEndpoint } from './tcp/endpoint.js';
import { TcpRelay } from './tcp-relay.js';
import type { UdpForwards } from './udp-forwards.js';

/** Where a forward listens, and where it leads. */
export interface ForwardOptions {
  /** The guest's port. */
  readonly guestPort: number;
  /** Port of the host; 0 or none: one that is free. */
  readonly port?: number | undefined;
  /** Address of the host: 127.0.0.1 unless given. */
  readonly host?: string | undefined;
  /** What is carried: TCP unless given. */
  readonly proto?: 'tcp' | 'udp' | undefined;
}

/** A forward that listens. */
export interface Forward {
  /** What it carries. */
  readonly proto: 'tcp' | 'udp';
  /** The host's address where it listens. */
  readonly host: string;
  /** The port it has there. */
  readonly port: number;
  /** Where it leads. */
  readonly guestPort: number;
  /** Stops listening and ends its connections. */
  close(): Promise<void>;
}

export interface ForwardPlace {
  readonly endpoint: TcpEndpoint;
  readonly udp: UdpForwards;
  readonly gateway: Address;
  /** The guest's address now. */
  guest(): Address;
}

/** Ports that connections to the guest come from when the client's own is taken. */
const EPHEMERAL = { FIRST: 49_152, COUNT: 16_384 } as const;

export class Forwards {
  readonly #place: ForwardPlace;
  readonly #open = new Set<Forward>();
  #nextPort = 0;

  constructor(place: ForwardPlace) {
    this.#place = place;
  }

  get list(): readonly Forward[] {
    return [...this.#open];
  }

  /** @throws HostError when the host's port cannot be had */
  async add({ proto = 'tcp', guestPort, port = 0, host = '127.0.0.1' }: ForwardOptions): Promise<Forward> {
    return proto === 'udp' ? this.#addUdp(host, port, guestPort) : this.#addTcp(host, port, guestPort);
  }

  async #addUdp(host: string, port: number, guestPort: number): Promise<Forward> {
    const open = await this.#place.udp.open(host, port, guestPort).catch((error: NodeJS.ErrnoException) => {
      throw listenError(error, { host, port });
    });
    const forward: Forward = {
      ...{ proto: 'udp', host: open.host, port: open.port, guestPort },
      close: () => {
        this.#open.delete(forward);
        return open.close();
      },
    };
    this.#open.add(forward);
    return forward;
  }

  async #addTcp(host: string, port: number, guestPort: number): Promise<Forward> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, { host, port })));
      server.listen({ port, host }, resolve);
    });
    const { address, port: real } = server.address() as { address: string; port: number };
    const forward = new OpenForward(server, address, real, guestPort, () => this.#open.delete(forward));
    server.removeAllListeners('error');
    server.on('error', () => {}); // a connection that could not be taken; the next one may be
    server.on('connection', (socket) => this.#connect(forward, socket));
    this.#open.add(forward);
    return forward;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open].map((forward) => forward.close()));
  }

  #connect(forward: OpenForward, socket: Socket): void {
    const { endpoint, gateway } = this.#place;
    const guest = this.#place.guest();
    const remotePort = this.#portFor(socket, guest, forward.guestPort);
    const relay = new TcpRelay(() => forward.relays.delete(relay));
    const path = { guest, guestPort: forward.guestPort, remote: gateway, remotePort };
    const connection = remotePort === 0 ? undefined : endpoint.connect(path, relay);
    if (!connection) {
      socket.on('error', () => {});
      socket.resetAndDestroy();
      return;
    }
    forward.relays.add(relay);
    relay.join(connection, socket);
  }

  /** The client's own port if it is free on the guest's side. @returns 0 when none is */
  #portFor(socket: Socket, guest: Address, guestPort: number): number {
    const isTaken = (remotePort: number): boolean =>
      this.#place.endpoint.isTaken({ guest, guestPort, remote: this.#place.gateway, remotePort });
    if (socket.remotePort && !isTaken(socket.remotePort)) return socket.remotePort;
    for (let count = 0; count < EPHEMERAL.COUNT; count += 1) {
      this.#nextPort = (this.#nextPort + 1) % EPHEMERAL.COUNT;
      const port = EPHEMERAL.FIRST + this.#nextPort;
      if (!isTaken(port)) return port;
    }
    return 0;
  }
}

class OpenForward implements Forward {
  readonly proto = 'tcp';
  readonly relays = new Set<TcpRelay>();
  readonly #server: Server;
  readonly #closed: () => void;

  constructor(
    server: Server,
    readonly host: string,
    readonly port: number,
    readonly guestPort: number,
    closed: () => void,
  ) {
    this.#server = server;
    this.#closed = closed;
  }

  async close(): Promise<void> {
    this.#closed();
    for (const relay of this.relays) relay.abort();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
