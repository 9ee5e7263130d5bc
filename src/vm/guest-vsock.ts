/**
 * The guest's socket device as an embedder uses it.
 * Runs on: main.
 */
import { Agent } from '../agent/agent.js';
import { PORT } from '../agent/protocol.js';
import type { VsockListener } from '../backends/vsock/listener.js';
import { VsockPorts } from '../backends/vsock/ports.js';
import { type VsockConnection, VsockStream } from '../backends/vsock/stream.js';
import { UnixSockets } from '../backends/vsock/unix-sockets.js';
import { ConfigError, VmmError } from '../base/errors.js';
import { VsockDevice } from '../devices/vsock/device.js';

/** How long a guest may take to answer, ms. */
const CONNECT_MS = 10_000;
/** 2^32 - 1 stands for any port (VMADDR_PORT_ANY). */
const MOST_PORT = 0xffff_fffe;

/** How `connect` waits. */
export interface VsockConnectOptions {
  /** How long the guest may take to answer, ms; its driver may come up meanwhile. 10 s unless given. */
  readonly timeout?: number;
  /** Its abort makes `connect` throw its reason. */
  readonly signal?: AbortSignal;
}

/** Stream connections between programs in the guest and this one, `vm.vsock`. In the guest they are AF_VSOCK sockets; the host is CID 2. */
export class GuestVsock {
  /** The guest's address. */
  readonly cid: number;
  /** Where other programs connect to the guest, by Firecracker's protocol; undefined when the configuration has none. */
  readonly path: string | undefined;
  /** For the machine. */
  readonly device: VsockDevice;
  /** For the machine. */
  readonly agent: Agent;
  readonly #ports: VsockPorts;

  private constructor({ cid, path }: { readonly cid: number; readonly path?: string | undefined }) {
    this.cid = cid;
    this.path = path;
    this.#ports = new VsockPorts();
    this.device = new VsockDevice('vsock', cid, this.#ports);
    this.agent = new Agent((port, options) => this.connect(port, options));
  }

  /** For the machine. @throws VmmError ERR_FILE when the path cannot be used */
  static async open(config: {
    readonly cid: number;
    readonly path?: string | undefined;
  }): Promise<GuestVsock> {
    const vsock = new GuestVsock(config);
    const { path } = config;
    if (path !== undefined) {
      const connect = (port: number): Promise<VsockStream> => vsock.#connect(port, {});
      vsock.#ports.fallback = await UnixSockets.open({ path, owner: vsock.#ports, connect });
    }
    return vsock;
  }

  /**
   * Connects to a port on which a program in the guest listens.
   * @param port 1 to 2^32 - 2
   * @throws ConfigError for another port; VmmError ERR_VSOCK_REFUSED when nobody listens there, ERR_TIMEOUT when the guest does not
   *   answer in time, ERR_GUEST_EXIT when the VM ends or has ended; the signal's reason
   */
  connect(port: number, options: VsockConnectOptions = {}): Promise<VsockConnection> {
    return this.#connect(port, options);
  }

  /**
   * Listens for connections of the guest to a port of CID 2. Up to 128 of them wait to be taken.
   * @param port 1 to 2^32 - 2, which nobody listens on
   * @throws ConfigError for another port
   */
  listen(port: number): VsockListener {
    checkPort(port);
    const listener = this.#ports.listen(port);
    if (!listener) throw new ConfigError([{ path: 'port', message: `${port} is taken` }]);
    return listener;
  }

  /** For the machine: the VM has ended. */
  finish(why: string): void {
    this.#ports.finish(why);
    this.agent.ports.finish();
  }

  async #connect(port: number, { timeout = CONNECT_MS, signal }: VsockConnectOptions): Promise<VsockStream> {
    checkPort(port);
    signal?.throwIfAborted();
    this.#checkEnd(port);
    const stream = new VsockStream(this.#ports);
    const settled = stream.settled();
    const connection = this.device.connect(port, stream, timeout);
    if (!connection) throw new VmmError('ERR_VSOCK_REFUSED', `vsock port ${port}: too many connections`);
    stream.attach(connection);
    // A connection that fails before anybody has it is this call's failure.
    const ignore = (): void => {};
    stream.on('error', ignore);
    const onAbort = (): void => void stream.destroy();
    signal?.addEventListener('abort', onAbort, { once: true });
    const why = await settled;
    signal?.removeEventListener('abort', onAbort);
    signal?.throwIfAborted();
    if (why === undefined) {
      if (port === PORT) this.agent.met();
      stream.off('error', ignore);
      return stream;
    }
    this.#checkEnd(port);
    if (why === 'timeout') {
      const message = `vsock port ${port}: the guest did not answer within ${timeout / 1000} s`;
      throw new VmmError('ERR_TIMEOUT', message, { hint: 'does its kernel have a virtio-vsock driver?' });
    }
    throw new VmmError('ERR_VSOCK_REFUSED', `vsock port ${port}: nobody in the guest listens there`);
  }

  #checkEnd(port: number): void {
    const { ended } = this.#ports;
    if (ended !== undefined)
      throw new VmmError('ERR_GUEST_EXIT', `vsock port ${port}: the VM ended: ${ended}`);
  }
}

function checkPort(port: number): void {
  if (Number.isInteger(port) && port >= 1 && port <= MOST_PORT) return;
  throw new ConfigError([
    { path: 'port', message: `must be a whole number from 1 to ${MOST_PORT}, not ${port}` },
  ]);
}
