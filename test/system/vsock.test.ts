/** Sockets between a real guest and the host: both ways, many at once, slow readers, half-closed, refused; and Firecracker's protocol. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, connect as unixConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect } from 'vitest';
import type { VirtualMachine } from '../../src/index.js';
import { guestName } from '../support/guest.js';
import { GUEST_LIMIT, guestTest, tell, UNTIL_TOLD } from '../support/guest-test.js';
import { vsockTool } from '../support/vsock-tool.js';

const KiB = 1024;
const folder = mkdtempSync(join(tmpdir(), 'typevisor-vsock-'));
afterAll(() => rmSync(folder, { recursive: true }));
const files = [vsockTool()];

/** An emulated kernel moves a few megabytes a second. */
const MANY =
  guestName === 'stock' ? { connections: 20, bytes: 1024 * KiB } : { connections: 8, bytes: 128 * KiB };
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Everything that comes; other than after `for await`, the stream may still be written to. */
function allOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  return new Promise((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
    stream.on('end', () => resolve(Buffer.concat(chunks)));
  });
}

/** Sends everything to a port of the guest that echoes. @returns what came back */
async function echoed(vm: VirtualMachine, port: number, bytes: Uint8Array): Promise<Buffer> {
  // The guest makes a process of each, on a processor that others use too.
  const connection = await vm.vsock!.connect(port, { timeout: GUEST_LIMIT });
  connection.end(bytes);
  return allOf(connection);
}

guestTest(`${MANY.connections} connections of the host at once carry ${MANY.bytes} bytes each, both ways`, {
  config: { vsock: { cid: 42 }, cpus: 2 },
  files,
  guest: `
    vsock echo 5000 ${MANY.connections + 1} || fail echo
    ${UNTIL_TOLD}`,
  async host(vm) {
    await vm.waitFor('listening', { timeout: GUEST_LIMIT });
    // Nobody listens there.
    await expect(vm.vsock!.connect(5001)).rejects.toMatchObject({ code: 'ERR_VSOCK_REFUSED' });
    expect((await echoed(vm, 5000, Buffer.from('hello'))).toString()).toBe('hello');
    await Promise.all(
      Array.from({ length: MANY.connections }, async () => {
        const bytes = randomBytes(MANY.bytes);
        expect(sha256(await echoed(vm, 5000, bytes))).toBe(sha256(bytes));
      }),
    );
    await expect
      .poll(() => vm.stats().devices['vsock'], { timeout: GUEST_LIMIT })
      .toMatchObject({ connections: 0, dropped: 0 });
    tell(vm);
  },
});

guestTest('the guest connects to the host, which answers when all has come; a port of nobody is refused', {
  config: { vsock: true },
  files,
  guest: `
    dd if=/dev/urandom of=/tmp/data bs=64k count=4 2> /dev/null
    set -- $(sha256sum /tmp/data)
    is answer "$(vsock connect 6000 < /tmp/data)" "$1"
    vsock refused 6001 || fail 'not refused'`,
  async host(vm) {
    await using listener = vm.vsock!.listen(6000);
    const { value: connection } = await listener.next();
    if (!connection) throw new Error('the guest ended');
    connection.end(sha256(await allOf(connection)));
  },
});

guestTest('a reader that does not read makes its writer wait, on either side', {
  config: { vsock: true },
  files,
  guest: `
    vsock sink 5000 3 > /tmp/sink &
    dd if=/dev/zero bs=64k count=16 2> /dev/null | vsock connect 6000 > /dev/null
    wait
    grep -q 'sink: 1048576' /tmp/sink || fail "$(cat /tmp/sink)"
    ${UNTIL_TOLD}`,
  async host(vm) {
    await using listener = vm.vsock!.listen(6000);
    const { value: fromGuest } = await listener.next();
    if (!fromGuest) throw new Error('the guest ended');
    const toGuest = await vm.vsock!.connect(5000);
    let written = 0;
    const writing = (async () => {
      for (; written < 1024 * KiB; written += 16 * KiB) {
        if (!toGuest.write(Buffer.alloc(16 * KiB)))
          await new Promise((resolve) => toGuest.once('drain', resolve));
      }
      toGuest.end();
    })();
    await sleep(1500);
    // Linux gives a socket 256 KiB; ours holds as much. The guest has not begun to read, and neither have we.
    expect(written).toBeLessThan(512 * KiB);
    expect(vm.stats().devices['vsock']!['received']).toBeLessThanOrEqual(300 * KiB);
    expect((await allOf(fromGuest)).length).toBe(1024 * KiB);
    fromGuest.end();
    await writing;
    await allOf(toGuest);
    tell(vm);
  },
});

const path = join(folder, 'vm.sock');
guestTest("other programs reach the guest, and it reaches them, by Firecracker's protocol", {
  config: { vsock: { path } },
  files,
  guest: `
    vsock echo 5000 1 &
    until [ "$(echo hello | vsock connect 6000)" = HELLO ]; do sleep 0.1; done
    echo 'it shouts'
    wait
    ${UNTIL_TOLD}`,
  async host(vm) {
    await using _server = await listening(`${path}_6000`);
    await vm.waitFor('listening', { timeout: GUEST_LIMIT });
    const refused = unixConnect({ path });
    refused.write('CONNECT 5001\n');
    expect((await allOf(refused)).length).toBe(0);
    const client = unixConnect({ path, allowHalfOpen: true });
    client.end('CONNECT 5000\nround and round');
    expect((await allOf(client)).toString()).toMatch(/^OK \d+\nround and round$/);
    await vm.waitFor('it shouts', { timeout: GUEST_LIMIT });
    tell(vm);
  },
});

/** A program that shouts back what it is told. */
async function listening(at: string): Promise<AsyncDisposable> {
  const server = createServer({ allowHalfOpen: true }, async (socket) => {
    socket.end((await allOf(socket)).toString().toUpperCase());
  });
  await new Promise<void>((resolve) => server.listen(at, resolve));
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) };
}
