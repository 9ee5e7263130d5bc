/** Attempts to get out of a guest's network, and what a policy's functions may do. */

import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { NetFlow, NetPolicy } from '../../../../src/backends/user-net/net-policy.js';
import { Policy } from '../../../../src/backends/user-net/policy.js';
import {
  closed,
  resolveName,
  serve,
  tries,
  type UserNetBench,
  until,
  userNet,
} from '../../../support/net/user-net-bench.js';
import { VirtualClock } from '../../../support/net/virtual-clock.js';

const answered = (policy: NetPolicy): UserNetBench =>
  userNet({ ...policy, connect: () => new PassThrough() });
describe('without lists', () => {
  it.each([
    '10.0.2.2', // the host's loopback, by the gateway
    '127.0.0.1',
    '127.8.9.1',
    '0.0.0.0',
    '169.254.169.254',
    '168.63.129.16',
    '100.100.100.200',
    '10.0.0.1',
    '172.16.0.1',
    '192.168.1.1',
    '10.0.2.77', // nobody of its own network
    '240.1.1.1',
    'fd74:7970:6576::2',
    'fd74:7970:6576::77',
    '::1',
    '::',
    'fe80::1:2',
    'fd00:ec2::254',
    '::ffff:7f00:1',
    '::ffff:a9fe:a9fe',
    '::7f00:1',
    '64:ff9b::7f00:1',
    '64:ff9b::808:808',
    '64:ff9b:1::1',
    '2002:7f00:1::1',
    '2001::1',
    'fec0::1',
    '4000::1',
  ])('a guest does not reach %s', async (address) => {
    await using bench = answered({});
    expect(await tries(bench, address)).toBe(false);
    expect(bench.decisions).toMatchObject([{ verdict: 'deny', proto: 'tcp', port: 80 }]);
  });

  it('a guest does not reach the host by a public address of its own, unless that is named', () => {
    const reaches = (allow: string[] | undefined): string => {
      const place = {
        clock: new VirtualClock(),
        isGateway: () => false,
        isInside: () => false,
        isUnreadable: () => false,
        decided: () => {},
      };
      const policy = new Policy({ allow }, { ...place, isOwn: (address) => address[3] === 34 });
      const guest = Uint8Array.of(10, 0, 2, 15);
      const flow = {
        proto: 'tcp' as const,
        guest,
        guestPort: 1,
        address: Uint8Array.of(93, 184, 216, 34),
        port: 80,
      };
      return (policy.route(flow) as { to: string }).to;
    };
    expect(reaches(undefined)).toBe('nowhere');
    expect(reaches(['*', '93.184.216.0/24'])).toBe('nowhere'); // its network is not itself
    expect(reaches(['93.184.216.34'])).toBe('host');
  });

  it.each(['93.184.216.34', '2606:4700::1'])('a guest reaches %s', async (address) => {
    await using bench = answered({});
    expect(await tries(bench, address)).toBe(true);
  });
});

describe('an allow list', () => {
  it.each([
    [['*'], '93.184.216.34', true],
    [['*'], '127.0.0.1', false],
    [['*'], '10.0.2.2', false],
    [['0.0.0.0/0'], '127.0.0.1', false],
    [['0.0.0.0/0'], '169.254.169.254', false],
    [['0.0.0.0/0'], '93.184.216.34', true],
    [['::/0'], '::1', false],
    [['::/0'], '::ffff:7f00:1', false],
    [[/.*/], '93.184.216.34', false], // a name that was never asked for
    [['127.0.0.1'], '::ffff:7f00:1', false],
    [['127.0.0.1'], '127.0.0.2', false],
    [['127.0.0.1'], '127.0.0.1', true],
    [['127.0.0.0/8'], '127.3.3.3', true],
    [['127.0.0.1:443'], '127.0.0.1', false],
    [['127.0.0.1:80'], '10.0.2.2', true],
    [['udp:127.0.0.1:80'], '10.0.2.2', false],
    [['host:80'], '10.0.2.2', true],
    [['host:80'], 'fd74:7970:6576::2', true],
    [['host:81'], '10.0.2.2', false],
    [['host'], '127.0.0.1', false], // its own loopback, as far as a guest can mean it
    [['169.254.169.254'], '169.254.169.254', true],
    [['169.254.0.0/16'], '169.254.169.254', true],
    [['10.0.0.0/8'], '10.1.2.3', true],
    [['10.0.0.0/8'], '10.0.2.77', false],
    [['10.0.0.0/8'], '192.168.0.1', false],
    [[], '93.184.216.34', false],
  ])('%j and %s: %j', async (allow, address, expected) => {
    await using bench = answered({ allow });
    expect(await tries(bench, address)).toBe(expected);
  });
});

describe('a deny list', () => {
  it.each([
    [['93.184.216.0/24'], '93.184.216.34', false],
    [['93.184.216.34:443'], '93.184.216.34', true],
    [['tcp:*:80'], '93.184.216.34', false],
    [['*'], '93.184.216.34', false],
  ])('%j and %s: %j', async (deny, address, expected) => {
    await using bench = answered({ deny });
    expect(await tries(bench, address)).toBe(expected);
  });

  it('comes before what is allowed, and sees IPv4 inside of IPv6', async () => {
    await using bench = answered({ allow: ['::ffff:0:0/96', '93.184.0.0/16'], deny: ['93.184.216.34'] });
    expect(await tries(bench, '93.184.216.34')).toBe(false);
    expect(await tries(bench, '::ffff:5db8:d822')).toBe(false);
    expect(await tries(bench, '93.184.216.35')).toBe(true);
  });
});

describe('names', () => {
  const zone: Record<string, string[]> = {
    'good.example': ['93.184.216.34'],
    'evil.example': ['127.0.0.1', '10.0.2.2', '169.254.169.254'],
    'mixed.example': ['127.0.0.1', '93.184.216.35'],
  };
  const dns = ({ name }: { name: string }): string[] | false => zone[name] ?? false;

  it('open the addresses that the guest was told, and no others', async () => {
    await using bench = answered({ allow: ['good.example:80'], dns });
    expect(await tries(bench, '93.184.216.34')).toBe(false);
    await resolveName(bench, 'good.example');
    expect(await tries(bench, '93.184.216.34')).toBe(true);
    expect(await tries(bench, '93.184.216.34', 81)).toBe(false);
    expect(await tries(bench, '93.184.216.35')).toBe(false);
    expect(bench.decisions.at(-3)).toMatchObject({ verdict: 'allow', host: 'good.example' });
  });

  it('do not open the host, whatever they lead to (rebinding)', async () => {
    await using bench = answered({ allow: ['evil.example', '*'], dns });
    expect((await resolveName(bench, 'evil.example')).addresses).toHaveLength(3); // the embedder's own function said so
    for (const address of zone['evil.example']!) expect(await tries(bench, address)).toBe(false);
  });

  it('that are not allowed are not asked for', async () => {
    const asked: string[] = [];
    const spy = ({ name }: { name: string }): false => {
      asked.push(name);
      return false;
    };
    await using bench = answered({ allow: ['good.example'], deny: ['bad.example'], dns: spy });
    expect((await resolveName(bench, 'secret-data.evil.example')).code).toBe(5);
    expect((await resolveName(bench, 'bad.example')).code).toBe(5);
    expect((await resolveName(bench, 'good.example')).code).toBe(3);
    expect(asked).toEqual(['good.example']);
    expect(bench.decisions[0]).toMatchObject({
      verdict: 'deny',
      proto: 'dns',
      host: 'secret-data.evil.example',
    });
  });

  it('that lead to the host are not told by the host’s resolver', async () => {
    await using bench = answered({});
    expect((await resolveName(bench, 'localhost')).code).toBe(3);
    expect(bench.decisions[0]).toMatchObject({ verdict: 'deny', proto: 'dns', host: 'localhost' });
    await using open = answered({ allow: ['localhost', '127.0.0.1'] });
    expect((await resolveName(open, 'localhost')).addresses).toEqual(['127.0.0.1']);
  });

  it('fail when the function does', async () => {
    for (const broken of [
      () => {
        throw new Error('broken');
      },
      () => 7 as never,
      () => ['no address'],
    ]) {
      await using bench = answered({ dns: broken });
      expect((await resolveName(bench, 'good.example')).code).toBe(2);
      expect(bench.decisions[0]).toMatchObject({ verdict: 'deny', reason: 'dns: failed' });
      expect(bench.decisions[0]!.error).toBeInstanceOf(Error);
    }
  });
});

describe('the function connect', () => {
  const target = '93.184.216.34';

  it('is told of a flow, and refuses it', async () => {
    const seen: NetFlow[] = [];
    await using bench = userNet({
      connect: (flow) => {
        seen.push(flow);
        return false;
      },
    });
    expect(await tries(bench, target)).toBe(false);
    expect(seen).toMatchObject([
      { proto: 'tcp', host: target, address: target, port: 80, names: [], guest: { address: '10.0.2.15' } },
    ]);
  });

  it('is not asked about what the lists refuse', async () => {
    let asked = 0;
    await using bench = userNet({
      connect: () => {
        asked += 1;
        return true;
      },
    });
    expect(await tries(bench, '127.0.0.1')).toBe(false);
    expect(asked).toBe(0);
  });

  it('sends a flow elsewhere', async () => {
    await using server = await serve((socket) => socket.end('from elsewhere'));
    await using bench = userNet({ connect: async () => ({ address: '127.0.0.1', port: server.port }) });
    const connection = bench.guest.connect(target, 80);
    let text = '';
    connection.onData = (bytes) => {
      text += Buffer.from(bytes).toString();
    };
    connection.end();
    expect(await closed(connection)).toBe('done');
    expect(text).toBe('from elsewhere');
  });

  it('answers with a stream of its own', async () => {
    await using bench = userNet({ connect: () => new PassThrough() });
    const connection = bench.guest.connect(target, 80);
    connection.write(Buffer.from('echo'));
    connection.end();
    expect(await closed(connection)).toBe('done');
    expect(connection.received).toBe(4);
  });

  it.each([
    ['undefined', undefined],
    ['a text', 'yes'],
    ['a number', 1],
    ['null', null],
    ['a name', { address: 'example.com', port: 80 }],
    ['no port', { address: '127.0.0.1' }],
    ['a port too large', { address: '127.0.0.1', port: 65_536 }],
    ['a stream that is closed', new PassThrough().destroy()],
  ])('that returns %s has said no', async (_, answer) => {
    await using bench = userNet({ connect: () => answer as never });
    expect(await tries(bench, target)).toBe(false);
    expect(bench.decisions).toMatchObject([{ verdict: 'deny', host: target }]);
  });

  it('that throws or rejects has said no, and the error is told', async () => {
    const error = new Error('broken policy');
    for (const connect of [
      () => {
        throw error;
      },
      () => Promise.reject(error),
    ]) {
      await using bench = userNet({ connect });
      expect(await tries(bench, target)).toBe(false);
      expect(bench.decisions).toMatchObject([{ verdict: 'deny', reason: 'connect: broken policy', error }]);
    }
  });

  it('that never answers has said no after 10 s', async () => {
    const clock = new VirtualClock();
    await using bench = userNet({ clock, connect: () => new Promise(() => {}) });
    const connection = bench.guest.connect(target, 80);
    await until(() => bench.net.stats().tcpConnections === 1);
    await new Promise(setImmediate);
    clock.advance(9_000);
    expect(bench.decisions).toEqual([]);
    clock.advance(2_000);
    expect(await closed(connection)).toBe('reset');
    expect(bench.decisions).toMatchObject([{ verdict: 'deny', reason: 'connect: no answer within 10 s' }]);
  });

  it('that answers too late with a stream, or when the guest has given up, has the stream closed', async () => {
    for (const late of [true, false]) {
      const clock = new VirtualClock();
      let answer: (stream: PassThrough) => void = () => {};
      await using bench = userNet({
        clock,
        connect: () =>
          new Promise((resolve) => {
            answer = resolve;
          }),
      });
      const connection = bench.guest.connect(target, 80);
      await until(() => bench.net.stats().tcpConnections === 1);
      await new Promise(setImmediate);
      if (late) clock.advance(11_000);
      else connection.reset();
      await until(() => bench.net.stats().tcpConnections === 0);
      const stream = new PassThrough();
      answer(stream);
      await until(() => stream.destroyed, 'the end of the stream');
    }
  });
});

describe('a policy that changes', () => {
  it('holds for what comes, and cuts what it does not allow any more', async () => {
    await using bench = answered({});
    const connection = bench.guest.connect('93.184.216.34', 80);
    await until(() => connection.state === 'open');
    bench.net.update({ allow: ['93.184.216.35'] });
    expect(await closed(connection)).toBe('reset');
    expect(await tries(bench, '93.184.216.34')).toBe(false);
    expect(await tries(bench, '93.184.216.35')).toBe(true);
    bench.net.update({ allow: undefined });
    expect(await tries(bench, '93.184.216.34')).toBe(true);
  });

  it('stays as it was when the new one is wrong', async () => {
    await using bench = answered({ allow: ['93.184.216.34'] });
    expect(() => bench.net.update({ allow: ['1.1.1.1/99'] })).toThrow('allow.0');
    expect(await tries(bench, '93.184.216.34')).toBe(true);
    expect(await tries(bench, '93.184.216.35')).toBe(false);
  });
});
