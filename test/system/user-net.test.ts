/**
 * The user network under a real guest: its own DHCP client, ping, wget and nc against servers on the host's loopback; forwards; a
 * policy that holds. Nothing leaves the host.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer, type Server } from 'node:net';
import { expect } from 'vitest';
import { UserNet } from '../../src/backends/user-net/user-net.js';
import type { NetDecision, VirtualMachine } from '../../src/index.js';
import { guestName } from '../support/guest.js';
import { GUEST_LIMIT, guestTest, tell, UNTIL_TOLD } from '../support/guest-test.js';
import { LossyNetwork } from '../support/net/lossy-network.js';

const KiB = 1024;
/** An emulated kernel moves a few megabytes a second. */
const SIZE = guestName === 'stock' ? 1024 * KiB : 192 * KiB;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** What busybox's DHCP client runs: Debian's package has none where there is no /usr/share. */
const SCRIPT = `#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip -4 addr flush dev $interface
ip -4 addr add $ip/$mask dev $interface
ip route add default via $router
echo "nameserver $dns" > /etc/resolv.conf
echo "search $domain" >> /etc/resolv.conf
`;
const files = [
  { type: 'file' as const, path: 'etc/lease.sh', mode: 0o755, data: new TextEncoder().encode(SCRIPT) },
];
const CONFIGURE = `
    ip link set lo up
    ip link set eth0 up || fail no eth0
    udhcpc -i eth0 -n -q -f -s /etc/lease.sh || fail no lease`;

async function listening<T extends Server>(server: T): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as { port: number }).port;
}

const content = randomBytes(SIZE);
const web = createHttpServer((request, response) => {
  const page =
    request.url === '/blob' ? content : request.url === '/half' ? content.subarray(0, SIZE / 2) : 'hello\n';
  if (request.method === 'GET') return void response.end(page);
  const hash = createHash('sha256');
  request.on('data', (chunk: Buffer) => hash.update(chunk)).on('end', () => response.end(hash.digest('hex')));
});
const webPort = await listening(web);
/** Takes everything, then says what it was. */
const sink = createServer({ allowHalfOpen: true }, (socket) => {
  const hash = createHash('sha256');
  socket.on('data', (chunk) => hash.update(chunk)).on('end', () => socket.end(`${hash.digest('hex')}\n`));
});
const sinkPort = await listening(sink);
const decisions: NetDecision[] = [];

guestTest(
  'a guest configures itself, pings its gateway, loads and sends, and is refused what is not allowed',
  {
    config: {
      net: {
        user: {
          hostname: 'inside',
          domain: 'guest.test',
          allow: [`host:${webPort}`, `host:${sinkPort}`, 'told.test', '198.51.100.7'],
          dns: ({ name }) => (name === 'told.test' ? ['198.51.100.7'] : undefined),
          connect: ({ host }) => (host === 'told.test' ? { address: '127.0.0.1', port: webPort } : true),
        },
      },
    },
    files,
    guest: `${CONFIGURE}
    is address "$(ip -4 addr show dev eth0 | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p')" 10.0.2.15
    is resolver "$(sed -n 's/nameserver //p' /etc/resolv.conf)" 10.0.2.3
    is domain "$(sed -n 's/search //p' /etc/resolv.conf)" guest.test
    ping -c 2 10.0.2.2 || fail no ping
    i=0; until ip -6 addr show dev eth0 | grep -q 'inet6 fd74:7970:6576'; do
      i=$((i+1)); [ $i -lt 30 ] || fail no IPv6 address; sleep 1; done
    ping -c 1 fd74:7970:6576::2 || fail no ping over IPv6
    wget -q -O /tmp/blob http://10.0.2.2:${webPort}/blob || fail wget
    is blob "$(sha256sum /tmp/blob | cut -d ' ' -f 1)" ${sha256(content)}
    is upload "$(nc 10.0.2.2 ${sinkPort} < /tmp/blob)" ${sha256(content)}
    is redirected "$(wget -q -O - http://told.test/)" hello
    wget -q -O - http://10.0.2.2:1/ && fail reached another port of the host
    wget -q -O - http://169.254.169.254/ && fail reached link-local
    wget -q -O - http://93.184.216.34/ && fail reached the world
    nslookup secret.example 10.0.2.3 && fail resolved what is not allowed
    true`,
    async host(vm: VirtualMachine) {
      vm.nets.get('net0')!.user!.on('decision', (decision) => void decisions.push(decision));
    },
    after({ vm }) {
      const said = (verdict: string) =>
        decisions.filter((one) => one.verdict === verdict).map(({ host }) => host);
      expect(new Set(said('allow'))).toEqual(new Set(['host', 'told.test']));
      expect(said('deny')).toEqual(
        expect.arrayContaining(['host', '169.254.169.254', '93.184.216.34', 'secret.example']),
      );
      expect(vm.nets.get('net0')!.user!.stats()).toMatchObject({ dropped: 0, tcpConnections: 0 });
    },
  },
);

/** Each is a process of the guest's. */
const REQUESTS = guestName === 'stock' ? 200 : 20;

guestTest(
  'ports of the host lead to the guest: from the start, under load, added while it runs, and removed',
  {
    config: { net: { user: { forwards: [{ guestPort: 7000 }, { guestPort: 80 }] } } },
    files,
    guest: `${CONFIGURE}
    nc -l -p 7000 -e cat & nc -l -p 7001 -e cat &
    mkdir /tmp/www
    echo hello > /tmp/www/index.html
    httpd -p 80 -h /tmp/www
    sleep 1
    echo listening
    wait
    ${UNTIL_TOLD}
    echo done`,
    async host(vm: VirtualMachine) {
      const { user } = vm.nets.get('net0')!;
      const [first, site] = user!.forwards;
      await vm.waitFor('listening', { timeout: GUEST_LIMIT });
      const second = await user!.forward({ guestPort: 7001 });
      await Promise.all(
        [first!, second].map(async ({ host, port }) => {
          const socket = connect({ host, port, allowHalfOpen: true });
          const chunks: Buffer[] = [];
          socket.on('data', (chunk) => void chunks.push(chunk));
          socket.end(content);
          await once(socket, 'end');
          expect(sha256(Buffer.concat(chunks))).toBe(sha256(content));
        }),
      );
      let left = REQUESTS;
      const visit = async (): Promise<void> => {
        for (; left > 0; ) {
          left -= 1;
          const response = await fetch(`http://${site!.host}:${site!.port}/`, {
            headers: { connection: 'close' },
          });
          expect(await response.text()).toBe('hello\n');
        }
      };
      await Promise.all(Array.from({ length: 10 }, visit));
      await second.close();
      const late = connect({ host: second.host, port: second.port });
      const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException];
      expect(error.code).toBe('ECONNREFUSED');
      tell(vm);
      await vm.waitFor('done', { timeout: GUEST_LIMIT });
    },
  },
);

for (const offloads of [true, false]) {
  const size = SIZE / 2;
  const wire = new LossyNetwork(
    new UserNet({ allow: ['host'], offloads, ipv6: false }),
    { loss: guestName === 'stock' ? 0.02 : 0.08, duplicate: 0.02, reorder: 0.05, delay: 1 },
    offloads ? 11 : 12,
  );
  guestTest(
    `TCP survives loss and reordering on its way to and from a guest, ${offloads ? 'with' : 'without'} offloads`,
    {
      config: { net: wire },
      files,
      guest: `
    ip link set lo up
    ip link set eth0 up
    ip -4 addr add 10.0.2.15/24 dev eth0
    head -c ${size} /dev/urandom > /tmp/blob
    hash=$(sha256sum /tmp/blob | cut -d ' ' -f 1)
    is upload "$(nc 10.0.2.2 ${sinkPort} < /tmp/blob)" $hash
    is download "$(wget -q -O - http://10.0.2.2:${webPort}/half | sha256sum | cut -d ' ' -f 1)" ${sha256(content.subarray(0, size))}`,
      after() {
        expect(wire.toGuest.lost + wire.fromGuest.lost).toBeGreaterThan(0);
      },
    },
  );
}
