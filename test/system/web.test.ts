/**
 * HTTPS of a guest's own programs, read on its way: a package is loaded from a registry on the host's loopback that wants a secret, which
 * the guest does not have; what is not allowed goes nowhere.
 */
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect } from 'vitest';
import type { NetDecision } from '../../src/index.js';
import { guestName } from '../support/guest.js';
import { GUEST_LIMIT, guestTest, tell } from '../support/guest-test.js';
import { WEB_ADDRESS, WebBench } from '../support/net/web-bench.js';

const SECRET = 's3cret of the registry';
/** An emulated kernel moves some kilobytes a second on a busy machine. */
const pack = randomBytes(guestName === 'stock' ? 100_000 : 20_000);
const integrity = `sha512-${createHash('sha512').update(pack).digest('base64')}`;
const web = new WebBench();
const seen: string[] = [];
const decisions: NetDecision[] = [];

beforeAll(async () => {
  await web.listen();
  // As npm's registry answers: a document that names the archive and its hash, then the archive.
  web.respond = ({ url, headers }, response) => {
    if (headers.authorization !== `Bearer ${SECRET}`)
      return void response.writeHead(401).end('who are you?\n');
    if (url === '/pack') {
      const dist = { tarball: 'https://registry.test/pack/-/pack-1.0.0.tgz', integrity };
      return void response.end(JSON.stringify({ name: 'pack', versions: { '1.0.0': { dist } } }));
    }
    response.end(url === '/pack/-/pack-1.0.0.tgz' ? pack : '');
  };
});
afterAll(() => web[Symbol.asyncDispose]());

guestTest('a guest loads a package by HTTPS with a secret that it does not have, and nothing else', {
  config: {
    net: {
      user: {
        ipv6: false,
        allow: ['tcp:registry.test:443', `${WEB_ADDRESS}:80`],
        dns: ({ name }) => (name === 'registry.test' ? [WEB_ADDRESS] : undefined),
        connect: () => ({ address: '127.0.0.1', port: web.ports.https }),
        fetch: ({ method, url, headers }) => {
          seen.push(`${method} ${url} ${headers.get('authorization')}`);
          return method === 'GET' ? undefined : new Response('read only\n', { status: 403 });
        },
        secrets: { TOKEN: { value: SECRET, hosts: ['registry.test'] } },
        trust: web.authority.pem,
      },
    },
  },
  guest: `
    ip addr add 10.0.2.15/24 dev eth0
    ip link set eth0 up
    ip route add default via 10.0.2.2
    echo nameserver 10.0.2.3 > /etc/resolv.conf
    wget -q -O /tmp/ca.pem http://10.0.2.3/ || fail no certificate
    is certificates "$(grep -c 'BEGIN CERTIFICATE' /tmp/ca.pem)" 1
    echo 'what is the token?'
    read -r token
    get() { wget -q -O "$2" --header "Authorization: Bearer $token" "https://registry.test/$1"; }

    get pack /tmp/pack.json || fail no document
    path=$(sed -n 's|.*"tarball":"https://registry.test/\\([^"]*\\)".*|\\1|p' /tmp/pack.json)
    get "$path" /tmp/pack.tgz || fail no archive
    hash=$(sha512sum /tmp/pack.tgz | cut -d ' ' -f 1 | xxd -r -p | base64 -w 0)
    is integrity "sha512-$hash" "$(sed -n 's|.*"integrity":"\\([^"]*\\)".*|\\1|p' /tmp/pack.json)"

    wget -q -O - --post-data x https://registry.test/pack && fail 'it may write'
    wget -q -O - https://other.test/ && fail 'resolved what is not allowed'
    echo 'hosts: files dns' > /etc/nsswitch.conf
    echo ${WEB_ADDRESS} other.test >> /etc/hosts
    wget -q -O - https://other.test/ && fail 'read TLS for another name'
    wget -q -O - --header "Host: other.test" https://registry.test/pack && fail 'asked one host for another'
    wget -q -O - --header "Key: $token" http://${WEB_ADDRESS}/ && fail 'a secret in the clear'
    grep -q secret- /tmp/pack.json && fail 'a secret in the answer'
    true`,
  async host(vm) {
    const { user } = vm.nets.get('net0')!;
    user!.on('decision', (decision) => void decisions.push(decision));
    await vm.waitFor('what is the token?', { timeout: GUEST_LIMIT });
    tell(vm, user!.placeholders['TOKEN']);
  },
  after({ console }) {
    // What the guest sent is what the function saw; what the registry saw, the guest never had.
    expect(seen.slice(0, 2)).toEqual([
      expect.stringMatching(/^GET https:\/\/registry\.test\/pack Bearer secret-[0-9a-f]{32}$/),
      expect.stringMatching(/^GET https:\/\/registry\.test\/pack\/-\/pack-1\.0\.0\.tgz Bearer secret-/),
    ]);
    expect(web.seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'GET /pack',
      'GET /pack/-/pack-1.0.0.tgz',
    ]);
    expect(console).not.toContain(SECRET);
    const refused = decisions.filter(({ verdict }) => verdict === 'deny');
    expect(refused.filter(({ proto }) => proto === 'dns').map(({ host }) => host)).toContain('other.test');
    const unread = refused.filter(({ proto }) => proto !== 'dns');
    expect(unread.map(({ proto, host, reason }) => [proto, host, reason])).toEqual([
      ['http', 'other.test', expect.stringContaining('TLS for a name')],
      ['http', 'other.test', 'asks one host for another'],
      ['http', WEB_ADDRESS, expect.stringContaining('a secret')],
    ]);
  },
});
