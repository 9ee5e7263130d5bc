/** User networks of a configuration: what is refused and by which path, forwards, and what an embedder can do with them. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { UserNet } from '../../../src/backends/user-net/user-net.js';
import type { ConfigError } from '../../../src/base/errors.js';
import { parseConfig, type VmConfig } from '../../../src/config/schema.js';
import { openNets } from '../../../src/vm/nets.js';

const parse = (net: VmConfig['net']) => parseConfig({ kernel: 'none', net: net! });

async function open(net: VmConfig['net']): Promise<AsyncDisposable & { users: Map<string, UserNet> }> {
  const users = new Map<string, UserNet>();
  const devices = await openNets(parse(net), () => {}, users);
  return {
    users,
    async [Symbol.asyncDispose]() {
      for (const device of devices) await device.close();
    },
  };
}

const user = (options: object): VmConfig['net'] => [{ user: options }] as VmConfig['net'];

describe('a user network of a configuration', () => {
  it('may be just that, and takes forwards as text or in parts', () => {
    expect(parse({ user: true }).net).toEqual([{ user: { ipv6: true, forwards: [] } }]);
    const forwards = ['8080:80', '0.0.0.0:1:2', '[::1]:3:4', { guestPort: 5 }, '8053:53/udp', '6:7/tcp'];
    expect(parse({ user: { forwards } }).net[0]!.user!.forwards).toEqual([
      { host: '127.0.0.1', port: 8080, guestPort: 80, proto: 'tcp' },
      { host: '0.0.0.0', port: 1, guestPort: 2, proto: 'tcp' },
      { host: '::1', port: 3, guestPort: 4, proto: 'tcp' },
      { host: '127.0.0.1', port: 0, guestPort: 5, proto: 'tcp' },
      { host: '127.0.0.1', port: 8053, guestPort: 53, proto: 'udp' },
      { host: '127.0.0.1', port: 6, guestPort: 7, proto: 'tcp' },
    ]);
  });

  it.each([
    ['net.0.user.forwards.0', { forwards: ['80'] }, 'is no forward'],
    ['net.0.user.forwards.0', { forwards: ['1:1/sctp'] }, '/udp behind it'],
    [
      'net.0.user.forwards.0.proto',
      { forwards: [{ guestPort: 1, proto: 'sctp' }] },
      'must be one of tcp, udp',
    ],
    ['net.0.user.forwards.1.port', { forwards: ['1:1', '70000:80'] }, 'at most 65535'],
    ['net.0.user.forwards.0.guestPort', { forwards: [{ guestPort: 0 }] }, 'at least 1'],
    ['net.0.user.allow.1', { allow: ['*', 7] }, 'expected a rule'],
    ['net.0.user.connect', { connect: 'yes' }, 'expected a function'],
    ['net.0.user.fetch', { fetch: 1 }, 'expected a function'],
    ['net.0.user.fetsh', { fetsh: 1 }, 'unknown option'],
    ['net.0.user.secrets.A.hosts', { secrets: { A: { value: 'x' } } }, 'is required'],
    ['net.0.user.ipv6', { ipv6: 1 }, 'must be a boolean'],
  ])('is refused at %s', (path, options, message) => {
    try {
      parse(user(options));
      expect.unreachable();
    } catch (error) {
      expect((error as ConfigError).issues).toMatchObject([
        { path, message: expect.stringContaining(message) },
      ]);
    }
  });

  it.each([
    ['net.0.user.allow.1', user({ allow: ['*', '10.0.0.0/40'] }), '0 to 32 bits'],
    ['net.0.user.deny.0', user({ deny: ['a b'] }), 'is not a name'],
    ['net.0.user.subnet', user({ subnet: '10.0.0.0/8' }), '24 to 28 bits'],
    ['net.0.user.secrets.A.value', user({ secrets: { A: { value: '', hosts: ['a.test'] } } }), 'line ends'],
    ['net.0.mtu', [{ user: true, mtu: 576 }] as VmConfig['net'], 'must be 1280'],
  ])('is refused at %s when it is opened', async (path, net, message) => {
    await expect(open(net)).rejects.toMatchObject({
      code: 'ERR_VMM_CONFIG',
      issues: [{ path, message: expect.stringContaining(message) }],
    });
  });

  it('says which port is taken, and frees those it had', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const free = createServer().listen(0, '127.0.0.1');
    await once(free, 'listening');
    const other = (free.address() as { port: number }).port;
    free.close();
    await once(free, 'close');
    await expect(open({ user: { forwards: [`${other}:1`, `${port}:1`] } })).rejects.toMatchObject({
      code: 'ERR_VMM_HOST',
      message: expect.stringContaining(`127.0.0.1:${port}`),
    });
    const again = createServer().listen(other, '127.0.0.1');
    await once(again, 'listening');
    again.close();
    server.close();
  });

  it('is at hand while the machine runs: forwards come and go, the policy changes', async () => {
    await using opened = await open([{ user: { forwards: [{ guestPort: 80 }] }, id: 'eth' }]);
    const net = opened.users.get('eth')!;
    const [first] = net.forwards;
    const second = await net.forward({ guestPort: 81 });
    expect(net.forwards).toEqual([first, second]);
    const socket = connect(second.port, second.host);
    await once(socket, 'connect');
    await second.close();
    await once(socket, 'close').catch(() => {}); // cut with the forward
    expect(net.forwards).toEqual([first]);
    expect(() => net.update({ allow: ['1.1.1.1/33'] })).toThrow('allow.0');
    net.update({ deny: ['*'] });
  });
});
