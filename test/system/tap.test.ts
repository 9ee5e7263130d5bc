/** A guest on a tap interface, in a network namespace of this process's own: the host's kernel at the other end, and data both ways. */
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:net';
import { describe, expect } from 'vitest';
import { guestName } from '../support/guest.js';
import { guestTest } from '../support/guest-test.js';
import { enterNetworkNamespace, ip } from '../support/network-namespace.js';

const can = enterNetworkNamespace();
/** An emulated kernel is slow. */
const BYTES = guestName === 'stock' ? 8 * 2 ** 20 : 2 ** 18;

/** Gives back what it was sent, when it has all of it; what is received is told by its hash. */
async function echoServer(hashes: string[]): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', () => {});
    socket.on('end', () => {
      const all = Buffer.concat(chunks);
      hashes.push(createHash('sha256').update(all).digest('hex'));
      socket.end(all);
    });
  });
  await new Promise<void>((resolve) => server.listen(5000, '10.0.0.1', resolve));
  return server;
}

describe.skipIf(!can)('a guest on a tap interface', () => {
  const data = randomBytes(BYTES);
  const hash = createHash('sha256').update(data).digest('hex');
  const hashes: string[] = [];

  guestTest('pings its host, and sends it a file that comes back', {
    config: { net: { tap: 'tap0' } },
    files: [{ type: 'file', path: 'file', data }],
    guest: `
      ip addr add 10.0.0.2/24 dev eth0
      ip link set eth0 up
      n=0
      until ping -c 1 -W 1 10.0.0.1 > /dev/null 2>&1; do
        n=$((n + 1)); [ $n -lt 60 ] || fail "no answer: $(ip addr)"
      done
      ping -q -c 5 -i 0.1 -s 1472 10.0.0.1 > /tmp/ping || fail "$(cat /tmp/ping)"
      nc 10.0.0.1 5000 < /file > /tmp/back || fail 'nobody takes the file'
      is hash "$(sha256sum < /tmp/back)" '${hash}  -'`,
    async host(vm) {
      ip('addr', 'add', '10.0.0.1/24', 'dev', 'tap0');
      const server = await echoServer(hashes);
      await vm.exited;
      server.close();
    },
    after({ vm }) {
      expect(hashes).toEqual([hash]);
      expect(vm.nets.get('net0')!.stats).toMatchObject({ malformed: 0, sendDropped: 0 });
    },
  });
});
