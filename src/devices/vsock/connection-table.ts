/**
 * The connections of one guest by their two ports, at most so many, and a free port for each that the host asks for.
 * Runs on: main.
 */
import { Connection, type ConnectionLimits, type ConnectionOwner } from './connection.js';

/** Ports of connections from the host start here, as Firecracker's do. */
const FIRST_HOST_PORT = 2 ** 30;
/** 2^32 - 1 stands for any port in Linux (VMADDR_PORT_ANY). */
const LAST_HOST_PORT = 0xffff_fffe;
/** Connections beyond this many have a quarter of the window: what a guest can make the host keep is 304 MiB in all. */
const FEW = 256;

export interface VsockLimits extends ConnectionLimits {
  /** At once; further ones are refused. */
  readonly connections: number;
}

const keyOf = (hostPort: number, guestPort: number): string => `${hostPort}:${guestPort}`;

export class ConnectionTable {
  readonly #connections = new Map<string, Connection>();
  #nextPort = FIRST_HOST_PORT;
  /** What was looked for last: packets of one connection often come one after the other. */
  #last: Connection | undefined;

  constructor(private readonly limits: VsockLimits) {}

  get size(): number {
    return this.#connections.size;
  }
  get isFull(): boolean {
    return this.#connections.size >= this.limits.connections;
  }

  find(hostPort: number, guestPort: number): Connection | undefined {
    const last = this.#last;
    if (last && last.hostPort === hostPort && last.guestPort === guestPort) return last;
    this.#last = this.#connections.get(keyOf(hostPort, guestPort));
    return this.#last;
  }

  /** Only while it is not full, and for ports that no connection has. */
  add(hostPort: number, guestPort: number, owner: ConnectionOwner): Connection {
    const { window, closeMs } = this.limits;
    const limits = { closeMs, window: this.size < FEW ? window : window / 4 };
    const connection = new Connection({ hostPort, guestPort }, owner, limits);
    this.#connections.set(keyOf(hostPort, guestPort), connection);
    return connection;
  }

  delete({ hostPort, guestPort }: Connection): void {
    this.#last = undefined;
    this.#connections.delete(keyOf(hostPort, guestPort));
  }

  /** A host's port that has no connection with this one of the guest. */
  freePort(guestPort: number): number {
    for (;;) {
      const hostPort = this.#nextPort;
      this.#nextPort = hostPort === LAST_HOST_PORT ? FIRST_HOST_PORT : hostPort + 1;
      if (!this.#connections.has(keyOf(hostPort, guestPort))) return hostPort;
    }
  }

  /** As they are now. */
  all(): Connection[] {
    return [...this.#connections.values()];
  }
}
