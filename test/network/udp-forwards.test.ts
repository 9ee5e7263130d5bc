/** UDP and IPv6 ports of the host that lead to the guest: whom the guest hears, and who hears its answers. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, expect, it } from 'vitest';
import { type UserNetBench, until, userNet } from '../support/net/user-net-bench.js';

const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ address }) => address === '::1'),
);

interface Client extends AsyncDisposable {
  readonly socket: Socket;
  readonly heard: string[];
}

async function client(type: 'udp4' | 'udp6' = 'udp4'): Promise<Client> {
  const socket = createSocket(type);
  const heard: string[] = [];
  socket.on('message', (data) => heard.push(String(data)));
  socket.bind(0, type === 'udp4' ? '127.0.0.1' : '::1');
  await once(socket, 'listening');
  return { socket, heard, [Symbol.asyncDispose]: async () => void socket.close() };
}

/** The guest answers on `port` with what it heard, in capitals. @returns the ports that it was asked from */
function answers(bench: UserNetBench, port: number): number[] {
  const from: number[] = [];
  bench.guest.onUdp = ({ sourcePort, destinationPort, data }) => {
    if (destinationPort !== port) return;
    from.push(sourcePort);
    bench.guest.sendUdp(
      '10.0.2.2',
      port,
      sourcePort,
      Buffer.from(Buffer.from(data).toString().toUpperCase()),
    );
  };
  return from;
}

describe('a forward of UDP', () => {
  it('takes every client to the guest, and each hears its own answers', async () => {
    await using bench = userNet();
    const from = answers(bench, 53);
    const forward = await bench.net.forward({ guestPort: 53, proto: 'udp' });
    expect(forward).toMatchObject({ proto: 'udp', host: '127.0.0.1', guestPort: 53 });
    await using a = await client();
    await using b = await client();
    a.socket.send('a1', forward.port, forward.host);
    b.socket.send('b1', forward.port, forward.host);
    await until(() => a.heard.length === 1 && b.heard.length === 1, 'two answers');
    a.socket.send('a2', forward.port, forward.host);
    await until(() => a.heard.length === 2, 'a third');
    expect([a.heard, b.heard]).toEqual([['A1', 'A2'], ['B1']]);
    expect(from).toEqual([a.socket.address().port, b.socket.address().port, a.socket.address().port]);
    expect(bench.net.stats().udpFlows).toBe(2);
    expect(bench.decisions).toEqual([]);
    await forward.close();
    expect(bench.net.forwards).toEqual([]);
    expect(bench.net.stats().udpFlows).toBe(0);
  });

  it('carries two ports of the host to one of the guest', async () => {
    await using bench = userNet();
    const from = answers(bench, 53);
    const [one, two] = await Promise.all(
      [1, 2].map(() => bench.net.forward({ guestPort: 53, proto: 'udp' })),
    );
    await using a = await client();
    a.socket.send('x', one!.port, one!.host);
    await until(() => a.heard.length === 1, 'an answer');
    a.socket.send('y', two!.port, two!.host);
    await until(() => a.heard.length === 2, 'another');
    expect(new Set(from).size).toBe(2);
  });

  it('keeps a limit of clients, those that spoke last', async () => {
    await using bench = userNet();
    const from = answers(bench, 53);
    const forward = await bench.net.forward({ guestPort: 53, proto: 'udp' });
    for (let count = 0; count < 600; count += 1) {
      await using one = await client();
      one.socket.send('x', forward.port, forward.host);
      await until(() => one.heard.length === 1, `answer ${count}`);
    }
    expect(from).toHaveLength(600);
    expect(bench.net.stats().udpFlows).toBe(512);
  });

  it('does not let the guest speak to whom has not asked', async () => {
    await using bench = userNet();
    const forward = await bench.net.forward({ guestPort: 53, proto: 'udp' });
    await using a = await client();
    bench.guest.sendUdp('10.0.2.2', 53, a.socket.address().port, Buffer.from('x'));
    await until(() => bench.decisions.length > 0, 'a decision');
    expect(bench.decisions).toMatchObject([{ verdict: 'deny', proto: 'udp' }]);
    expect(a.heard).toEqual([]);
    await forward.close();
  });

  it('says that a port is taken', async () => {
    await using bench = userNet();
    await using a = await client();
    const wanted = bench.net.forward({ guestPort: 80, proto: 'udp', port: a.socket.address().port });
    await expect(wanted).rejects.toMatchObject({ code: 'ERR_VMM_HOST', errnoName: 'EADDRINUSE' });
    expect(bench.net.forwards).toEqual([]);
  });
});

describe.skipIf(!hasIpv6)('a forward from IPv6', () => {
  it('leads to the guest over UDP and over TCP', async () => {
    await using bench = userNet();
    answers(bench, 53);
    bench.guest.listen(80, (connection) => {
      connection.onData = (bytes) => connection.write(bytes);
    });
    const udp = await bench.net.forward({ guestPort: 53, proto: 'udp', host: '::1' });
    await using a = await client('udp6');
    a.socket.send('x', udp.port, udp.host);
    await until(() => a.heard.length === 1, 'an answer');
    expect(a.heard).toEqual(['X']);
    const tcp = await bench.net.forward({ guestPort: 80, host: '::1' });
    const socket = connect({ port: tcp.port, host: tcp.host });
    socket.write('hello');
    const [data] = (await once(socket, 'data')) as [Buffer];
    expect(String(data)).toBe('hello');
    socket.destroy();
  });
});
