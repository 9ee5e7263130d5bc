/**
 * Connections that the guest opens: asked for at the gate, connected on the host, and only then accepted, so that the guest is
 * refused when the host is.
 * Runs on: main.
 */
import { connect, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import type { Flow, Gate } from './gate.js';
import type { HttpReader } from './http/reader.js';
import type { Connection } from './tcp/connection.js';
import { TcpRelay } from './tcp-relay.js';

/** As long as Linux tries to connect by default; a guest has given up long before. */
const CONNECT_TIMEOUT_MS = 30_000;

export class TcpOutgoing {
  readonly #gate: Gate;
  readonly #reader: HttpReader | undefined;
  /** Relays and what they are for, until nothing of them is left. */
  readonly #open = new Map<TcpRelay, Flow>();

  /** @param reader reads what is HTTP, if anybody wants to know */
  constructor(gate: Gate, reader?: HttpReader) {
    this.#gate = gate;
    this.#reader = reader;
  }

  get count(): number {
    return this.#open.size;
  }

  /** A guest's SYN. */
  async take(connection: Connection): Promise<void> {
    const { guest, guestPort, remote, remotePort } = connection.path;
    const flow: Flow = { proto: 'tcp', guest, guestPort, address: remote, port: remotePort };
    const route = await this.#gate.route(flow);
    if (connection.state !== 'listen') {
      if (route.to === 'stream') route.stream.destroy();
      return;
    }
    if (route.to === 'nowhere') return connection.abort();
    const relay = new TcpRelay(() => this.#open.delete(relay));
    connection.user = relay; // hears of a guest that gives up
    this.#open.set(relay, flow);
    if (route.to === 'stream') {
      relay.join(connection, route.stream);
      connection.accept(relay);
    } else if (this.#reader?.wants(flow)) {
      const [near, far] = duplexPair();
      far.once('close', () => near.destroy()); // an end comes before; without one it is a cut
      near.once('close', () => far.destroy());
      relay.join(connection, near);
      connection.accept(relay);
      await this.#reader.take(far, flow, route, this.#gate.hostsOf(flow));
    } else {
      const socket = connect({ host: route.address, port: route.port, allowHalfOpen: true });
      this.#connect(connection, relay, socket);
    }
  }

  /** Cuts what the gate does not allow any more. */
  review(): void {
    for (const [relay, flow] of [...this.#open]) if (!this.#gate.stillAllows(flow)) relay.abort();
  }

  close(): void {
    for (const relay of [...this.#open.keys()]) relay.abort();
  }

  #connect(connection: Connection, relay: TcpRelay, socket: Socket): void {
    socket.setNoDelay(true);
    relay.join(connection, socket); // an error, or the guest's giving up, ends both from now on
    const limit = setTimeout(() => relay.abort(), CONNECT_TIMEOUT_MS);
    limit.unref();
    socket.once('close', () => clearTimeout(limit));
    socket.once('connect', () => {
      clearTimeout(limit);
      connection.accept(relay);
    });
  }
}
