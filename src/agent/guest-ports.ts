/**
 * TCP ports of the guest, by its agent and without a network: waited for, and led to from this host.
 * Runs on: main.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { orAborted } from '../base/abort.js';
import { ConfigError, GuestCallError, VmmError } from '../base/errors.js';
import { listenError } from '../base/listen-error.js';
import { garbage, u16 } from './frames.js';
import { ANSWER, REQUEST } from './protocol.js';
import type { AgentSession } from './session.js';

/** Connections of one forward at once. */
const MAX_CONNECTIONS = 256;
const MOST_PORT = 65_535;

/** Where a forward of `vm.forward` listens, and where it leads. */
export interface GuestForwardOptions {
  /** The TCP port in the guest, 1 to 65535. */
  readonly guestPort: number;
  /** TCP port of this host; 0 or none: one that is free. */
  readonly port?: number;
  /** Address of this host: 127.0.0.1 unless given. */
  readonly host?: string;
  /** A Unix socket to listen at instead, which must not exist. */
  readonly path?: string;
}

/** A forward that listens, until it is closed or the VM ends. */
export interface GuestForward extends AsyncDisposable {
  /** Where it leads. */
  readonly guestPort: number;
  /** This host's address where it listens; undefined for a Unix socket. */
  readonly host: string | undefined;
  /** The port it has there; undefined for a Unix socket. */
  readonly port: number | undefined;
  /** The Unix socket; undefined for a port. */
  readonly path: string | undefined;
  /** Stops listening and breaks off its connections. */
  close(): Promise<void>;
}

/** How long, and until when, something waits. */
interface Wait {
  readonly timeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export class GuestPorts {
  readonly #forwards = new Set<OpenForward>();

  constructor(private readonly open: (wait?: Wait) => Promise<AgentSession>) {}

  /**
   * Resolves when a program in the guest listens at the port. @returns what does: `port 80`
   * @throws VmmError ERR_TIMEOUT, ERR_AGENT, ERR_GUEST_EXIT; the signal's reason; ConfigError
   */
  async listening(port: number, { timeout, signal }: Wait = {}): Promise<string> {
    checkPort('port', port, 1);
    const what = `wait for port ${port}`;
    const late = timeout === undefined ? [] : [AbortSignal.timeout(timeout)];
    const stop = AbortSignal.any([...late, ...(signal ? [signal] : [])]);
    const session = await this.open({ timeout, signal });
    try {
      // The agent looks until this connection ends.
      const answer = await orAborted(session.request(what, REQUEST.PROBE, u16(port)), stop);
      if (answer.type !== ANSWER.DONE) throw garbage(`message ${answer.type}`);
      return `port ${port}`;
    } catch (error) {
      if (!late[0]?.aborted || signal?.aborted) throw explain(what, error);
      throw new VmmError(
        'ERR_TIMEOUT',
        `nothing in the guest listens at port ${port} after ${timeout! / 1000} s`,
      );
    } finally {
      session.close();
    }
  }

  /**
   * A connection with a program that listens at the port, also if at the loopback address alone.
   * @throws GuestCallError when there is none (`ECONNREFUSED`); VmmError as `listening`
   */
  async connect(port: number, wait: Wait = {}): Promise<Duplex> {
    const what = `connect to port ${port} of the guest`;
    const session = await this.open(wait);
    try {
      return await session.takeOver(what, REQUEST.CONNECT, u16(port));
    } catch (error) {
      session.close();
      throw explain(what, error);
    }
  }

  /** @throws ConfigError, HostError */
  async forward({
    guestPort,
    port = 0,
    host = '127.0.0.1',
    path,
  }: GuestForwardOptions): Promise<GuestForward> {
    checkPort('guestPort', guestPort, 1);
    checkPort('port', port, 0);
    if (path !== undefined && port !== 0)
      throw new ConfigError([{ path: 'path', message: 'a forward listens at a port or a path, not both' }]);
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    server.maxConnections = MAX_CONNECTIONS;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) =>
        reject(listenError(error, path ?? { host, port })),
      );
      server.listen(path === undefined ? { port, host } : { path }, resolve);
    });
    server.removeAllListeners('error');
    server.on('error', () => {}); // a connection that could not be taken; the next one may be
    const forward = new OpenForward(server, guestPort, path, () => this.#forwards.delete(forward));
    server.on('connection', (socket) => {
      void forward.carry(socket, (signal) => this.connect(guestPort, { signal }));
    });
    this.#forwards.add(forward);
    return forward;
  }

  /** The VM has ended. */
  finish(): void {
    for (const forward of this.#forwards) void forward.close();
  }
}

class OpenForward implements GuestForward {
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly #clients = new Set<Socket>();
  readonly #guests = new Set<Duplex>();

  constructor(
    private readonly server: Server,
    readonly guestPort: number,
    readonly path: string | undefined,
    private readonly closed: () => void,
  ) {
    const at = server.address();
    if (typeof at === 'object' && at) {
      this.host = at.address;
      this.port = at.port;
    }
  }

  /** Joins a client with the guest; one that finds nobody there is told by a reset, as if it had asked the guest itself. */
  async carry(client: Socket, connect: (signal: AbortSignal) => Promise<Duplex>): Promise<void> {
    const gone = new AbortController();
    const reset = (): void => this.#reset(client);
    keep(this.#clients, client);
    client.on('error', () => {}).once('close', () => gone.abort());
    let guest: Duplex;
    try {
      guest = await connect(gone.signal);
    } catch {
      reset();
      return;
    }
    keep(this.#guests, guest);
    guest.on('error', reset);
    guest.once('close', () => client.destroySoon());
    client.once('close', () => {
      // One that ended in good order may have said more than the guest has read yet.
      if (!client.readableEnded) guest.destroy();
    });
    if (client.destroyed) guest.destroy();
    else client.pipe(guest).pipe(client);
  }

  async close(): Promise<void> {
    this.closed();
    for (const client of this.#clients) this.#reset(client);
    for (const guest of this.#guests) guest.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A program must not take what was broken off for an end. */
  #reset(client: Socket): void {
    if (this.path === undefined) client.resetAndDestroy();
    else client.destroy();
  }
}

/** Keeps a stream in a set as long as it is open. */
function keep<T extends Duplex>(streams: Set<T>, stream: T): void {
  streams.add(stream);
  stream.once('close', () => streams.delete(stream));
}

/** @throws what the agent said, or that it does not know the request */
function explain(what: string, error: unknown): unknown {
  if (!(error instanceof GuestCallError) || error.errnoName !== 'ENOSYS') return error;
  return new VmmError('ERR_AGENT', `${what}: the guest's agent is too old for it`, {
    hint: 'use the agent that came with this version',
    cause: error,
  });
}

function checkPort(path: string, port: number, least: number): void {
  if (Number.isInteger(port) && port >= least && port <= MOST_PORT) return;
  throw new ConfigError([
    { path, message: `must be a whole number from ${least} to ${MOST_PORT}, not ${port}` },
  ]);
}
