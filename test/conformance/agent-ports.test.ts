/** TCP ports of the guest by its agent: waited for, forwarded to, refused; and its clock. The agent runs on this host. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { u16, u32, u64 } from '../../src/agent/frames.js';
import type { GuestForward } from '../../src/agent/guest-ports.js';
import { REQUEST } from '../../src/agent/protocol.js';
import { AgentSession } from '../../src/agent/session.js';
import { HostAgent } from '../support/host-agent.js';

let host: HostAgent;
beforeAll(() => {
  host = new HostAgent();
});
afterAll(() => host[Symbol.dispose]());

/** A server at a free port of the loopback. */
async function serving(
  serve: (socket: Socket) => void,
  at: { host?: string; port?: number } = {},
): Promise<{ server: Server; port: number } & AsyncDisposable> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    serve(socket);
  });
  server.listen({ port: 0, host: '127.0.0.1', ...at });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    server,
    port,
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}
const echo = (socket: Socket): void => void socket.pipe(socket);
const to = ({ port, path }: GuestForward): Socket =>
  connect({ ...(path === undefined ? { port: port! } : { path }), allowHalfOpen: true }).on(
    'error',
    () => {},
  );
async function allOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk)).resume();
  await once(stream, 'end');
  return Buffer.concat(chunks);
}
/** The first of its errors. */
const failure = (socket: Socket): Promise<string | undefined> =>
  new Promise((resolve) => socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code)));
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('waiting for a port', () => {
  it('ends when a program listens there, and nobody has connected to it', async () => {
    const first = await serving(() => {});
    await first[Symbol.asyncDispose]();
    let waiting = true;
    const wait = host.agent.ports.listening(first.port, { timeout: 20_000 }).then((text) => {
      waiting = false;
      return text;
    });
    // Others are served meanwhile.
    expect(await host.agent.exec('echo on', {})).toMatchObject({ stdout: 'on\n' });
    expect(waiting).toBe(true);
    let connections = 0;
    await using _server = await serving(() => (connections += 1), { port: first.port });
    expect(await wait).toBe(`port ${first.port}`);
    expect(connections).toBe(0);
  });

  it('finds one that listens at an IPv6 address alone', async () => {
    await using server = await serving(echo, { host: '::1' });
    expect(await host.agent.ports.listening(server.port)).toBe(`port ${server.port}`);
    await using forward = await host.agent.ports.forward({ guestPort: server.port });
    const client = to(forward);
    client.end('six');
    expect((await allOf(client)).toString()).toBe('six');
  });

  it('gives up in time, and when it is aborted', async () => {
    const { port, ...server } = await serving(() => {});
    await server[Symbol.asyncDispose]();
    await expect(host.agent.ports.listening(port, { timeout: 200 })).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
      message: `nothing in the guest listens at port ${port} after 0.2 s`,
    });
    const abort = new AbortController();
    const wait = host.agent.ports.listening(port, { signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(wait).rejects.toThrow('enough');
    for (const wrong of [0, 65_536, 1.5, Number.NaN])
      await expect(host.agent.ports.listening(wrong)).rejects.toMatchObject({
        code: 'ERR_VMM_CONFIG',
        message: /^port: must be a whole number from 1 to 65535/,
      });
  });
});

describe('a forward', () => {
  it('carries a hundred connections at once, byte for byte, and each end by itself', async () => {
    await using server = await serving(echo);
    await using forward = await host.agent.ports.forward({ guestPort: server.port });
    expect(forward).toMatchObject({ host: '127.0.0.1', guestPort: server.port, path: undefined });
    await Promise.all(
      Array.from({ length: 100 }, async () => {
        const bytes = randomBytes(200_000);
        const client = to(forward);
        client.end(bytes);
        expect(sha256(await allOf(client))).toBe(sha256(bytes));
      }),
    );
    const large = randomBytes(20_000_000);
    const client = to(forward);
    client.end(large);
    expect(sha256(await allOf(client))).toBe(sha256(large));
  });

  it('leads from a Unix socket too; a server that speaks first and hangs up is heard to its end', async () => {
    const bytes = randomBytes(300_000);
    await using server = await serving((socket) => socket.end(bytes));
    const path = join(host.folder, 'forward.sock');
    {
      await using forward = await host.agent.ports.forward({ guestPort: server.port, path });
      expect(forward).toMatchObject({ path, host: undefined, port: undefined });
      for (let count = 0; count < 10; count += 1) {
        const client = to(forward);
        expect((await allOf(client)).equals(bytes)).toBe(true);
        client.destroy();
      }
    }
    expect(existsSync(path)).toBe(false);
  });

  it('delivers what a client said that has gone', async () => {
    let heard!: (bytes: Promise<Buffer>) => void;
    const hearing = new Promise<Buffer>((resolve) => {
      heard = resolve;
    });
    await using server = await serving((socket) => heard(allOf(socket)));
    await using forward = await host.agent.ports.forward({ guestPort: server.port });
    const client = to(forward);
    client.resume().end('last words', () => client.destroySoon());
    expect((await hearing).toString()).toBe('last words');
  });

  it('waits with the slower side: nothing grows', async () => {
    const sockets: Socket[] = [];
    await using server = await serving((socket) => void sockets.push(socket.pause()));
    await using forward = await host.agent.ports.forward({ guestPort: server.port });
    const client = to(forward);
    const chunk = Buffer.alloc(1 << 20);
    const total = 64;
    let written = 0;
    const write = (): void => {
      while (written < total) {
        written += 1;
        if (!client.write(chunk)) return;
      }
      client.end();
    };
    client.on('drain', write);
    write();
    const settled = async (): Promise<number> => {
      for (let before = -1; ; ) {
        const now = client.bytesWritten - client.writableLength;
        if (now === before) return now;
        before = now;
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    };
    // The kernel's socket buffers are most of it, four of them.
    expect(await settled()).toBeLessThan(40 << 20);
    expect(written).toBeLessThan(total);
    expect((await allOf(sockets[0]!)).length).toBe(total << 20);
  });

  it('resets those who ask for a port of nobody, and ends with everything on it', async () => {
    const { port, ...none } = await serving(() => {});
    await none[Symbol.asyncDispose]();
    await using refused = await host.agent.ports.forward({ guestPort: port });
    expect(await failure(to(refused))).toBe('ECONNRESET');
    await expect(host.agent.ports.connect(port)).rejects.toMatchObject({ errnoName: 'ECONNREFUSED' });

    let accept!: (socket: Socket) => void;
    const accepted = new Promise<Socket>((resolve) => {
      accept = resolve;
    });
    await using server = await serving((socket) => accept(socket));
    const forward = await host.agent.ports.forward({ guestPort: server.port });
    const client = to(forward);
    client.on('error', () => {}).resume();
    const socket = await accepted;
    const both = [client, socket.resume()].map(
      (stream) => new Promise<void>((resolve) => stream.once('close', () => resolve())),
    );
    await forward.close();
    socket.end();
    await Promise.all(both);
    expect(await failure(to(forward))).toBe('ECONNREFUSED');
  });

  it('is refused with a port or a path that cannot be', async () => {
    const { ports } = host.agent;
    await using server = await serving(echo);
    await expect(ports.forward({ guestPort: 0 })).rejects.toMatchObject({ message: /^guestPort: must be/ });
    await expect(ports.forward({ guestPort: 80, port: -1 })).rejects.toMatchObject({
      message: /^port: must be/,
    });
    await expect(ports.forward({ guestPort: 80, port: 8080, path: '/x' })).rejects.toMatchObject({
      message: /^path: .*not both/,
    });
    await expect(ports.forward({ guestPort: 80, port: server.port })).rejects.toMatchObject({
      code: 'ERR_VMM_HOST',
      errnoName: 'EADDRINUSE',
      hint: /another port/,
    });
    const path = join(host.folder, 'taken');
    writeFileSync(path, '');
    await expect(ports.forward({ guestPort: 80, path })).rejects.toMatchObject({
      errnoName: 'EADDRINUSE',
      hint: /path exists/,
    });
  });
});

describe('the agent', () => {
  it('leaves a clock that is about right alone, and refuses a time that cannot be', async () => {
    const ask = async (time: bigint, least: number): Promise<unknown> => {
      const session = new AgentSession(await host.dial(), { patience: 60_000 });
      try {
        return await session.request('clock', REQUEST.CLOCK, u64(time), u32(least));
      } finally {
        session.close();
      }
    };
    const now = BigInt(Date.now()) * 1_000_000n;
    // Never more than it may be wrong by: this is the clock of the machine the tests run on.
    await ask(now, 3_600_000);
    await ask(now - 60_000_000_000n, 3_600_000);
    await expect(ask(1n << 63n, 0xffff_ffff)).rejects.toMatchObject({ errnoName: 'EINVAL' });
    await host.agent.setClock();
  });

  it('refuses ports that are none, and more than one request at a time', async () => {
    const session = new AgentSession(await host.dial(), { patience: 60_000 });
    for (const type of [REQUEST.PROBE, REQUEST.CONNECT])
      await expect(session.request('port', type, u16(0))).rejects.toMatchObject({ errnoName: 'EINVAL' });
    session.send(REQUEST.PROBE, u16(1));
    await expect(session.request('second', REQUEST.CONNECT, u16(1))).rejects.toMatchObject({
      errnoName: 'EBUSY',
    });
    session.close();
    expect(await host.agent.ready()).toBe('agent 1');
    expect(host.process.exitCode).toBeNull();
  });
});
