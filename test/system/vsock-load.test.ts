/**
 * Sockets between a real guest and the host under load. In an emulated machine all of it takes long, so here it is cut short;
 * `TYPEVISOR_TEST_FULL=1` does it: 50 connections at once that carry 20 MiB each, there and back, and 10 000 short ones. Not where the
 * guest's kernel is emulated instruction by instruction: a connection takes 30 ms there, a hundred kilobytes ten seconds.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { describe, expect } from 'vitest';
import type { VirtualMachine } from '../../src/index.js';
import { guestName } from '../support/guest.js';
import { GUEST_LIMIT, guestTest, tell, UNTIL_TOLD } from '../support/guest-test.js';
import { vsockTool } from '../support/vsock-tool.js';

const MiB = 1024 * 1024;
const files = [vsockTool()];

const LOAD = process.env['TYPEVISOR_TEST_FULL']
  ? { connections: 50, bytes: 20 * MiB, short: 10_000, held: 5000, limit: 1_500_000 }
  : { connections: 50, bytes: MiB / 4, short: 300, held: 300, limit: GUEST_LIMIT };

/** Sends so many bytes to a port of the guest that echoes, 64 KiB at a time. @returns the hashes of what went and of what came */
async function echoed(vm: VirtualMachine, port: number, total: number): Promise<readonly [string, string]> {
  const connection = await vm.vsock!.connect(port, { timeout: LOAD.limit });
  const [sent, received] = [createHash('sha256'), createHash('sha256')];
  connection.on('data', (chunk: Buffer) => received.update(chunk));
  const ended = once(connection, 'end');
  const block = randomBytes(64 * 1024);
  for (let left = total; left > 0; left -= block.length) {
    block.writeUInt32LE(left);
    const piece = Buffer.from(block.subarray(0, left));
    sent.update(piece);
    if (!connection.write(piece)) await once(connection, 'drain');
  }
  connection.end();
  await ended;
  return [sent.digest('hex'), received.digest('hex')];
}

describe.runIf(guestName === 'stock')('under load', () => {
  guestTest(`${LOAD.connections} connections at once carry ${LOAD.bytes} bytes each, there and back`, {
    config: { vsock: true, cpus: 2 },
    files,
    limit: LOAD.limit,
    guest: `
    vsock echo 5000 ${LOAD.connections} || fail echo
    ${UNTIL_TOLD}`,
    async host(vm) {
      await vm.waitFor('listening', { timeout: GUEST_LIMIT });
      const memory = process.memoryUsage().arrayBuffers;
      let most = 0;
      const watch = setInterval(() => {
        most = Math.max(most, process.memoryUsage().arrayBuffers - memory);
      }, 100);
      const hashes = await Promise.all(
        Array.from({ length: LOAD.connections }, () => echoed(vm, 5000, LOAD.bytes)),
      );
      clearInterval(watch);
      for (const [sent, received] of hashes) expect(received).toBe(sent);
      // Windows of 256 KiB, as much written ahead, and garbage of the same kind.
      expect(most).toBeLessThan(LOAD.connections * 2 * MiB + 64 * MiB);
      await expect
        .poll(() => vm.stats().devices['vsock'], { timeout: GUEST_LIMIT })
        .toMatchObject({ connections: 0, dropped: 0 });
      tell(vm);
    },
  });

  guestTest(
    `${LOAD.short} short connections, as many to nobody, and ${LOAD.held} that do nothing leave the host as it was`,
    {
      config: { vsock: true },
      files,
      limit: LOAD.limit,
      guest: `
    vsock short 6000 ${LOAD.short} || fail short
    vsock refused 6001 ${LOAD.short} || fail refused
    vsock hold 6002 ${LOAD.held} || fail hold
    ${UNTIL_TOLD}`,
      async host(vm) {
        await using echo = vm.vsock!.listen(6000);
        await using silent = vm.vsock!.listen(6002);
        void (async () => {
          for await (const connection of echo) connection.pipe(connection);
        })();
        await vm.waitFor(`holds ${Math.min(LOAD.held, 128)}`, { timeout: LOAD.limit });
        // Others still get through, by a port that serves.
        expect(vm.stats().devices['vsock']).toMatchObject({ connections: 128, dropped: 0 });
        silent.close();
        tell(vm);
        await expect
          .poll(() => vm.stats().devices['vsock'], { timeout: GUEST_LIMIT })
          .toMatchObject({ connections: 0, dropped: 0 });
        tell(vm);
      },
    },
  );
});
