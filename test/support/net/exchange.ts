/** Data both ways between a guest's TCP and ours, with hashes of what was sent and what came. */
import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { Random } from '../random.js';
import type { GuestTcp } from './guest-tcp.js';
import { TcpBench, type TcpBenchOptions, type TestUser } from './tcp-bench.js';

export const SERVER = '93.184.216.34';
const sha = (): ReturnType<typeof createHash> => createHash('sha256');

/** Sends `total` bytes of noise as far as there is room; ends, and says the hash. */
function pourFromHost(user: TestUser, total: number, seed: number): { digest: () => string } {
  const random = new Random(seed);
  const hash = sha();
  let left = total;
  const pour = (): void => {
    while (left > 0 && user.connection.sender.room > 0) {
      const chunk = random.bytes(Math.min(left, 1 + random.below(60_000)));
      left -= chunk.length;
      hash.update(chunk);
      user.connection.write(chunk);
    }
    if (left === 0) {
      left = -1;
      user.connection.end();
    }
  };
  user.onDrained = pour;
  pour();
  return { digest: () => hash.digest('hex') };
}

function pourFromGuest(guest: GuestTcp, total: number, seed: number): { digest: () => string } {
  const random = new Random(seed);
  const hash = sha();
  let left = total;
  const pour = (): void => {
    while (left > 0 && guest.unsent < 200_000) {
      const chunk = random.bytes(Math.min(left, 1 + random.below(60_000)));
      left -= chunk.length;
      hash.update(chunk);
      guest.write(chunk);
    }
    if (left === 0) {
      left = -1;
      guest.end();
    }
  };
  guest.onDrain = pour;
  guest.onOpen = pour;
  return { digest: () => hash.digest('hex') };
}

export interface Outcome {
  readonly bench: TcpBench;
  readonly guest: GuestTcp;
}

/** Both ways at once, both ends by half-close. */
export function exchange(options: TcpBenchOptions, toGuest: number, toHost: number): Outcome {
  const bench = new TcpBench(options);
  const guest = bench.guest.connect(SERVER, 80);
  const [gotGuest, gotHost] = [sha(), sha()];
  let sentByHost: { digest: () => string } | undefined;
  guest.onData = (bytes) => void gotGuest.update(bytes);
  const sentByGuest = pourFromGuest(guest, toHost, 5);
  bench.onUser = (user) => {
    user.onData = (bytes) => void gotHost.update(bytes);
    user.established = () => {
      sentByHost ??= pourFromHost(user, toGuest, 6);
    };
  };
  bench.clock.run(() => guest.state === 'closed' && bench.endpoint.count === 0);
  expect(guest.state).toBe('closed');
  expect(bench.users[0]!.how).toBe('ended');
  expect(guest.received).toBe(toGuest);
  expect(gotGuest.digest('hex')).toBe(sentByHost!.digest());
  expect(gotHost.digest('hex')).toBe(sentByGuest.digest());
  if (!options.faults?.corrupt) expect(bench.guest.unsound).toEqual([]);
  return { bench, guest };
}
