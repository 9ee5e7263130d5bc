/** Our TCP against another one, on wires with faults, in virtual time: megabytes, and several seeds. */
import { describe, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/base/units.js';
import { exchange, SERVER } from '../support/net/exchange.js';
import { TcpBench } from '../support/net/tcp-bench.js';
import { WIRES } from '../support/net/wires.js';

describe('a TCP connection with the guest', () => {
  it.each(WIRES)(
    'carries megabytes both ways over $what',
    ({ faults, offloads, guest, isn, size = 4 * MiB }) => {
      const options = { faults, offloads: offloads ?? false, ...(guest && { guest }), ...(isn && { isn }) };
      for (const seed of [1, 2, 3]) exchange({ ...options, seed }, size, size);
    },
  );

  it('carries 100 MiB each way without a retransmission when nothing is lost', () => {
    const { guest, bench } = exchange({ faults: { delay: 0.05 }, offloads: true }, 100 * MiB, 100 * MiB);
    expect(guest.retransmissions).toBe(0);
    expect(bench.toGuest.sent).toBeLessThan(180_000); // large segments and few acknowledgements
  });
});

describe('a thousand connections', () => {
  it('that are stalled both ways keep to their small buffers and the common pool', () => {
    const bench = new TcpBench({ guest: { windowScale: 4 } });
    const guests = Array.from({ length: 1000 }, (_, index) =>
      bench.guest.connect(SERVER, 80, { localPort: 1000 + index, receiveBuffer: 8 * KiB }),
    );
    bench.onUser = (user) => {
      user.stalled = true;
    };
    for (const guest of guests) {
      guest.stalled = true;
      guest.write(new Uint8Array(200_000));
    }
    bench.clock.advance(5_000);
    for (const { connection } of bench.users) {
      while (connection.sender.room > 0)
        connection.write(new Uint8Array(Math.min(connection.sender.room, 16_384)));
    }
    bench.clock.advance(30_000);
    const held = bench.users.reduce(
      (sum, { pending, connection }) => sum + pending + connection.sender.queued,
      0,
    );
    expect(bench.users.length).toBe(1000);
    expect(held).toBeGreaterThan(1000 * 100 * KiB);
    expect(held).toBeLessThanOrEqual(1000 * 128 * KiB);
  });
});
