/** The user network with real sockets behind it: what a guest and a server on loopback see of each other. */
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/base/units.js';
import { ip } from '../support/net/guest-frames.js';
import { closed, serve, until, userNet } from '../support/net/user-net-bench.js';
import { Random } from '../support/random.js';

const HOST = '10.0.2.2';
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Of this process, without garbage, bytes. */
function usedMemory(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const allowHost = { allow: ['host'] };

describe('a connection of the guest', () => {
  it('carries data both ways, and each end by itself', async () => {
    await using server = await serve((socket) => socket.pipe(socket));
    await using bench = userNet(allowHost);
    const connection = bench.guest.connect(HOST, server.port);
    const data = new Random(1).bytes(5 * MiB);
    const hash = createHash('sha256');
    connection.onData = (bytes) => void hash.update(bytes);
    connection.write(data);
    connection.end();
    expect(await closed(connection)).toBe('done');
    expect(hash.digest('hex')).toBe(createHash('sha256').update(data).digest('hex'));
    expect(bench.guest.unsound).toEqual([]);
    await until(() => bench.net.stats().tcpConnections === 0 && server.sockets.size === 0, 'the sockets');
  });

  it('is refused when the host is', async () => {
    const server = await serve(() => {});
    await server[Symbol.asyncDispose]();
    await using bench = userNet(allowHost);
    const connection = bench.guest.connect(HOST, server.port);
    expect(await closed(connection)).toBe('reset');
    expect(connection.state).toBe('closed');
  });

  it('is reset when the server resets, and resets the server when the guest does', async () => {
    const errors: string[] = [];
    await using server = await serve((socket) => {
      socket.on('error', ({ code }: NodeJS.ErrnoException) => errors.push(code!));
      socket.on('data', (data) => String(data) === 'reset me' && socket.resetAndDestroy());
    });
    await using bench = userNet(allowHost);
    const first = bench.guest.connect(HOST, server.port);
    first.write(Buffer.from('reset me'));
    expect(await closed(first)).toBe('reset');
    const second = bench.guest.connect(HOST, server.port);
    second.write(Buffer.from('hello'));
    await until(() => server.sockets.size === 1 && second.inFlight === 0, 'the second connection');
    second.reset();
    await until(() => errors.length > 0, 'a reset');
    expect(errors).toEqual(['ECONNRESET']);
  });

  it('stops the guest while the server does not read, within bounds, and goes on', async () => {
    await using server = await serve((socket) => socket.pause());
    await using bench = userNet(allowHost);
    const connection = bench.guest.connect(HOST, server.port);
    const total = 40 * MiB;
    connection.write(new Uint8Array(total));
    connection.end();
    let before = -1;
    await until(() => {
      const same = connection.unsent === before && before < total;
      before = connection.unsent;
      return same && connection.peerWindow < 2000;
    }, 'a window that closes');
    // What the kernel's two socket buffers hold, and no more than 2 MiB of ours.
    expect(total - connection.unsent).toBeLessThan(24 * MiB);
    let got = 0;
    const [socket] = server.sockets;
    socket!.on('data', (data) => {
      got += data.length;
    });
    socket!.once('end', () => socket!.end());
    socket!.resume();
    expect(await closed(connection)).toBe('done');
    expect(got).toBe(total);
  }, 30_000);

  it('stops the server while the guest does not read, within bounds, and goes on', async () => {
    const total = 40 * MiB;
    let written = 0;
    await using server = await serve((socket) => {
      const chunk = Buffer.alloc(MiB);
      const pour = (): void => {
        while (written < total) {
          written += chunk.length;
          if (!socket.write(chunk)) {
            socket.once('drain', pour);
            return;
          }
        }
        socket.end();
      };
      pour();
    });
    await using bench = userNet(allowHost);
    const connection = bench.guest.connect(HOST, server.port);
    connection.stalled = true;
    await until(() => written > 0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(written).toBeLessThan(24 * MiB);
    connection.end();
    connection.read();
    expect(await closed(connection)).toBe('done');
    expect(connection.received).toBe(total);
  }, 30_000);

  it('goes on when the guest had no room for frames', async () => {
    await using server = await serve((socket) => socket.pipe(socket));
    let free = 3;
    await using bench = userNet(allowHost, undefined, () => free-- > 0);
    const timer = setInterval(() => {
      free = 3;
      bench.net.room();
    }, 1);
    const connection = bench.guest.connect(HOST, server.port);
    connection.write(new Random(2).bytes(MiB));
    connection.end();
    expect(await closed(connection)).toBe('done');
    expect(connection.received).toBe(MiB);
    clearInterval(timer);
  });

  it('is one of two thousand short ones', async () => {
    await using server = await serve((socket) => socket.pipe(socket));
    await using bench = userNet(allowHost);
    const run = async (): Promise<void> => {
      for (let count = 0; count < 100; count += 1) {
        const connection = bench.guest.connect(HOST, server.port);
        connection.write(Buffer.from(`request ${count}`));
        connection.end();
        if ((await closed(connection)) !== 'done') throw new Error('not done');
        bench.guest.sweep();
      }
    };
    await Promise.all(Array.from({ length: 20 }, run));
    await until(() => bench.net.stats().tcpConnections === 0);
    expect(bench.guest.unsound).toEqual([]);
  }, 30_000);

  it('is one of a thousand idle ones, which cost some kilobytes each, and nothing when they have ended', async () => {
    await using server = await serve((socket) => socket.pipe(socket));
    await using bench = userNet(allowHost);
    const round = async (): Promise<number> => {
      const before = usedMemory();
      const all = Array.from({ length: 1000 }, () => bench.guest.connect(HOST, server.port));
      for (const connection of all) connection.write(Buffer.from('hello'));
      await until(() => all.every(({ received }) => received === 5), 'a thousand answers', 60_000);
      const used = usedMemory() - before;
      expect(bench.net.stats().tcpConnections).toBe(1000);
      for (const connection of all) connection.reset();
      bench.guest.sweep();
      await until(
        () => bench.net.stats().tcpConnections === 0 && server.sockets.size === 0,
        'the end',
        60_000,
      );
      return used;
    };
    await round(); // what is only made once
    const before = usedMemory();
    const used = await round();
    expect(used).toBeGreaterThan(0);
    // Two sockets of this process, the server's among them, and the guest's half are in it too.
    expect(used / 1000).toBeLessThan(32 * KiB);
    expect(usedMemory() - before).toBeLessThan(4 * MiB);
  }, 120_000);

  it('works over IPv6', async () => {
    await using server = await serve((socket) => socket.pipe(socket));
    await using bench = userNet(allowHost);
    const connection = bench.guest.connect('fd74:7970:6576::2', server.port);
    connection.write(new Random(3).bytes(MiB));
    connection.end();
    expect(await closed(connection)).toBe('done');
    expect(connection.received).toBe(MiB);
    expect(bench.guest.unsound).toEqual([]);
  });
});

describe('a forward', () => {
  it('leads from a port of the host to the guest, until it is removed', async () => {
    await using bench = userNet();
    bench.guest.listen(80, (connection) => {
      connection.onData = (bytes) => connection.write(bytes);
      connection.onEnd = () => connection.end();
    });
    const forward = await bench.net.forward({ guestPort: 80 });
    const data = Buffer.from(new Random(4).bytes(MiB));
    const socket = connect({ port: forward.port, host: forward.host, allowHalfOpen: true });
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => void chunks.push(chunk));
    socket.end(data);
    await once(socket, 'close');
    expect(Buffer.concat(chunks).equals(data)).toBe(true);
    await forward.close();
    const late = connect({ port: forward.port, host: forward.host });
    const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
    expect(bench.net.forwards).toEqual([]);
  });

  it('resets who comes when the guest does not listen', async () => {
    await using bench = userNet();
    const forward = await bench.net.forward({ guestPort: 81 });
    const socket = connect({ port: forward.port, host: forward.host });
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
  });

  it('says that a port is taken', async () => {
    await using server = await serve(() => {});
    await using bench = userNet();
    const wanted = bench.net.forward({ guestPort: 80, port: server.port });
    await expect(wanted).rejects.toMatchObject({ code: 'ERR_VMM_HOST', errnoName: 'EADDRINUSE' });
  });
});

describe('UDP', () => {
  it('goes to the host and back, in fragments where it must', async () => {
    const echo = createSocket('udp4');
    echo.on('message', (data, { port, address }) => echo.send(data, port, address));
    echo.bind(0, '127.0.0.1');
    await once(echo, 'listening');
    await using bench = userNet(allowHost);
    const small = new Promise<Uint8Array>((resolve) => {
      bench.guest.onUdp = ({ data }) => resolve(data);
    });
    bench.guest.sendUdp(HOST, 5000, echo.address().port, Buffer.from('hello'));
    expect(Buffer.from(await small).toString()).toBe('hello');
    const fragments: number[] = [];
    let bytes = 0;
    bench.guest.onPacket = ({ protocol, fragment, payload }) => {
      if (protocol !== 17) return;
      fragments.push(fragment);
      bytes += payload.length;
    };
    const other = createSocket('udp4');
    bench.guest.sendUdp(HOST, 5000, echo.address().port, new Uint8Array(1400));
    await until(() => fragments.length === 1);
    echo.removeAllListeners('message');
    echo.on('message', (_, { port, address }) => echo.send(new Uint8Array(4000), port, address));
    bytes = 0;
    bench.guest.sendUdp(HOST, 5000, echo.address().port, Buffer.from('long'));
    await until(() => bytes >= 4008);
    expect(fragments.slice(1)).toEqual([0x2000, 0x2000 | 185, 370]);
    echo.close();
    other.close();
  });

  it('keeps flows apart that take turns, and ends them when the policy does, for as long', async () => {
    const echo = createSocket('udp4');
    let heard = 0;
    echo.on('message', (data, { port, address }) => {
      heard += 1;
      echo.send(data, port, address);
    });
    echo.bind(0, '127.0.0.1');
    await once(echo, 'listening');
    const { port } = echo.address();
    await using bench = userNet(allowHost);
    const answers: string[] = [];
    bench.guest.onUdp = ({ destinationPort, data }) =>
      void answers.push(`${destinationPort} ${Buffer.from(data)}`);
    for (const text of ['5002 a', '5003 a', '5002 b', '5002 c', '5003 b']) {
      bench.guest.sendUdp(HOST, Number(text.slice(0, 4)), port, Buffer.from(text));
    }
    await until(() => answers.length === 5);
    expect(answers.sort()).toEqual([
      '5002 5002 a',
      '5002 5002 b',
      '5002 5002 c',
      '5003 5003 a',
      '5003 5003 b',
    ]);
    expect(bench.net.stats().udpFlows).toBe(2);
    const refused = new Promise<number[]>((resolve) => {
      bench.guest.onPacket = ({ protocol, payload }) =>
        protocol === 1 && resolve([...payload.subarray(0, 2)]);
    });
    bench.net.update({ deny: ['host'] });
    expect(bench.net.stats().udpFlows).toBe(0);
    bench.guest.sendUdp(HOST, 5003, port, Buffer.from('no more'));
    expect(await refused).toEqual([3, 13]);
    expect(heard).toBe(5);
    bench.net.update({ deny: [] });
    bench.guest.sendUdp(HOST, 5003, port, Buffer.from('again'));
    await until(() => heard === 6);
    echo.close();
  });

  it('tells the guest of a port where nobody listens', async () => {
    const gone = createSocket('udp4').bind(0, '127.0.0.1');
    await once(gone, 'listening');
    const { port } = gone.address();
    gone.close();
    await using bench = userNet(allowHost);
    const icmp = new Promise<Uint8Array>((resolve) => {
      bench.guest.onPacket = ({ protocol, payload }) => protocol === 1 && resolve(payload);
    });
    bench.guest.sendUdp(HOST, 5001, port, Buffer.from('anyone?'));
    const payload = await icmp;
    expect([...payload.subarray(0, 2)]).toEqual([3, 3]);
    expect([...payload.subarray(8 + 16, 8 + 20)]).toEqual([...ip(HOST)]); // quotes the guest's packet
  });
});
