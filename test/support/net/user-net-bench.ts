/** A guest on a user network, in real time, with the host's own loopback behind it. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { NetDecision } from '../../../src/backends/user-net/net-policy.js';
import { UserNet, type UserNetOptions } from '../../../src/backends/user-net/user-net.js';
import type { GuestTcp, GuestTcpOptions } from './guest-tcp.js';
import { SimGuest } from './sim-guest.js';

const hostTime = {
  now: () => performance.now(),
  after(ms: number, action: () => void) {
    const timer = setTimeout(action, ms);
    return () => clearTimeout(timer);
  },
};

export interface UserNetBench extends AsyncDisposable {
  readonly net: UserNet;
  readonly guest: SimGuest;
  readonly decisions: NetDecision[];
}

export function userNet(
  options: UserNetOptions = {},
  tcp?: GuestTcpOptions,
  room = () => true,
): UserNetBench {
  const net = new UserNet(options);
  const decisions: NetDecision[] = [];
  net.on('decision', (decision) => void decisions.push(decision));
  // A card takes frames at once but is heard of later, as over a queue.
  const guest: SimGuest = new SimGuest({
    clock: hostTime,
    send: (frame) => void setImmediate(() => net.send(frame.slice())),
    ...(tcp && { tcp }),
  });
  net.onReceive((frame, header) => {
    if (!room()) return false;
    const copy = frame.slice();
    setImmediate(() => guest.receive(copy, header));
    return true;
  });
  const gone = (): Promise<void> => {
    guest.stop();
    return net.close();
  };
  return { net, guest, decisions, [Symbol.asyncDispose]: gone };
}

/** A server on loopback. */
export async function serve(
  take: (socket: Socket) => void,
  host = '127.0.0.1',
): Promise<AsyncDisposable & { port: number; server: Server; sockets: Set<Socket> }> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    take(socket);
  });
  const sockets = new Set<Socket>();
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    port,
    server,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean, what = 'condition', limitMs = 10_000): Promise<void> {
  const end = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** How a connection ended. */
export const closed = (connection: GuestTcp): Promise<string> =>
  new Promise((resolve) => {
    connection.onClose = resolve;
  });

/** Whether a connection is let through, to policies that let streams of their own answer. */
export async function tries(bench: UserNetBench, address: string, port = 80): Promise<boolean> {
  const before = bench.decisions.length;
  const connection = bench.guest.connect(address, port);
  await until(() => bench.decisions.length > before, `a decision about ${address}`);
  await until(() => connection.state !== 'syn-sent', `an end with ${address}`);
  const open = connection.state === 'open';
  if (open) connection.reset();
  bench.guest.sweep();
  return open;
}

/** Asks the network's resolver for an A record. @param labels of the name, where its dots do not say that */
export async function resolveName(
  bench: UserNetBench,
  name: string,
  labels: readonly string[] = name.split('.'),
): Promise<{ code: number; addresses: string[] }> {
  const encoded = labels.flatMap((label) => [Buffer.byteLength(label), ...Buffer.from(label)]);
  const answer = new Promise<Uint8Array>((resolve) => {
    bench.guest.onUdp = ({ data }) => resolve(data);
  });
  const query = Uint8Array.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...encoded, 0, 0, 1, 0, 1]);
  bench.guest.sendUdp('10.0.2.3', 4000, 53, query);
  const bytes = await answer;
  const addresses: string[] = [];
  const count = bytes[6]! * 256 + bytes[7]!;
  // Each answer ends with the four bytes of its address, behind ten of the record's and the name.
  for (let at = bytes.length, left = count; left > 0; left -= 1) {
    addresses.unshift(bytes.slice(at - 4, at).join('.'));
    at -= 4 + 10 + encoded.length + 1;
  }
  return { code: bytes[3]! & 15, addresses };
}
