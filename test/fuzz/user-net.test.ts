/** The user network under frames that no guest should send: nothing is thrown, nothing hangs, nothing grows without a bound. */
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { UserNet } from '../../src/backends/user-net/user-net.js';
import { FUZZ_LIMIT, fuzz } from '../support/fuzz.js';
import { type Ends, icmpFrame, ip, ipFrame, tcpFrame, udpFrame } from '../support/net/guest-frames.js';
import { SimGuest } from '../support/net/sim-guest.js';
import { VirtualClock } from '../support/net/virtual-clock.js';
import type { Random } from '../support/random.js';

const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const GATEWAY_MAC = Uint8Array.of(2, 0x54, 0x56, 0, 0, 1);
const PLACES = [
  '10.0.2.2',
  '10.0.2.3',
  '10.0.2.77',
  '93.184.216.34',
  '127.0.0.1',
  '255.255.255.255',
  '224.0.0.1',
];
const PLACES6 = [
  'fe80::2',
  'fd74:7970:6576::2',
  'fd74:7970:6576::3',
  'ff02::1',
  'ff02::2',
  '2606:4700::1',
  '::1',
];

function ends(random: Random): Ends {
  const v6 = random.chance(0.3);
  const from = random.chance(0.9) ? (v6 ? 'fd74:7970:6576::15' : '10.0.2.15') : v6 ? '::' : '0.0.0.0';
  return { fromMac: MAC, toMac: GATEWAY_MAC, from: ip(from), to: ip(random.pick(v6 ? PLACES6 : PLACES)) };
}

/** A question with a name of pointers and labels, as good or bad as chance has it. */
const dnsQuery = (random: Random): Uint8Array =>
  Uint8Array.from([1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...random.bytes(random.below(40)), 0, 0, 1, 0, 1]);

function dhcp(random: Random): Uint8Array {
  const bytes = new Uint8Array(240 + 64);
  bytes.set([1, 1, 6, 0, 1, 2, 3, 4]);
  bytes.set(random.bytes(6), 28);
  bytes.set([99, 130, 83, 99, 53, 1, random.below(10), ...random.bytes(60)], 236);
  return bytes;
}

/** A frame that is right in most of what it says. */
function plausible(random: Random): Uint8Array {
  const where = ends(random);
  const data = random.bytes(random.below(100));
  const port = random.pick([53, 67, 80, 1000 + random.below(3)]);
  switch (random.below(7)) {
    case 0:
      return udpFrame(where, 68, port, random.pick([data, dhcp(random), dnsQuery(random)]));
    case 1:
      return udpFrame(where, 4000, 53, dnsQuery(random));
    case 2:
      return icmpFrame(
        where,
        random.pick([8, 128, 133, 135, 136, random.below(256)]),
        0,
        data,
        random.pick([64, 255]),
      );
    case 3:
      return ipFrame(where, random.pick([1, 6, 17, 44, 58, 0, 43, random.below(256)]), data, {
        id: random.below(4),
        fragment: random.pick([0, 0x2000, 0x2000 | random.below(20), random.below(8192)]),
      });
    default:
      return tcpFrame(where, {
        sourcePort: 5000 + random.below(4),
        destinationPort: port,
        seq: random.pick([random.next(), random.below(2000)]),
        ack: random.next(),
        flags: random.pick(['S', 'S', 'A', 'PA', 'FA', 'R', 'RA', 'SA', '', 'SFRPA']),
        window: random.below(65_536),
        options: random.chance(0.3) ? [...random.bytes(random.below(10) * 4)] : [],
        data,
      });
  }
}

function spoilt(random: Random): Uint8Array {
  const frame = plausible(random);
  for (let count = random.below(4); count > 0; count -= 1) frame[random.below(frame.length)] = random.next();
  return random.chance(0.2) ? frame.subarray(0, random.below(frame.length)) : frame;
}

const HEADERS = [undefined, { flags: 1, gsoType: 0, hdrLen: 0, gsoSize: 0, csumStart: 34, csumOffset: 16 }];

describe('a user network', () => {
  it('takes any frames', { timeout: FUZZ_LIMIT }, async () => {
    await fuzz({ rounds: 60, seed: 0x5eed_0004 }, async (random) => {
      const clock = new VirtualClock();
      const answers = [true, false, undefined, new PassThrough(), 'nonsense'];
      const net = new UserNet({
        clock,
        connect: () => random.pick(answers.slice(1)) as boolean,
        dns: () => random.pick([false, ['93.184.216.34'], 'nonsense' as never]),
      });
      const room = random.chance(0.5) ? 1 : 0.7;
      net.onReceive(() => random.chance(room));
      for (let count = 0; count < 300; count += 1) {
        const frame = random.chance(0.1)
          ? random.bytes(random.below(200))
          : random.pick([plausible, spoilt])(random);
        net.send(frame, random.pick(HEADERS));
        if (random.chance(0.1)) clock.advance(random.below(2000));
        if (random.chance(0.05)) net.room();
        if (random.chance(0.05)) await new Promise(setImmediate);
      }
      clock.advance(3 * 3600_000);
      const { tcpConnections, udpFlows, framesIn } = net.stats();
      expect(framesIn).toBe(300);
      expect(tcpConnections).toBeLessThanOrEqual(30);
      expect(udpFlows).toBeLessThanOrEqual(512);
      await net.close();
      expect(net.stats().tcpConnections).toBe(0);
    });
  });

  it('bounds what a flood of openings, flows and neighbours can make it hold', async () => {
    const clock = new VirtualClock();
    const net = new UserNet({ clock, connect: () => new Promise(() => {}) });
    let out = 0;
    net.onReceive(() => {
      out += 1;
      return true;
    });
    const guest = new SimGuest({ clock, send: (frame) => net.send(frame) });
    const where = (number: number): Ends => ({
      ...guest.ends(ip('93.184.216.34')),
      from: Uint8Array.of(10, 0, 2, 20 + (number % 200)),
    });
    for (let number = 0; number < 20_000; number += 1) {
      const ports = { sourcePort: 1 + (number % 60_000), destinationPort: 80 };
      guest.sendFrame(tcpFrame(where(number), { ...ports, seq: number, flags: 'S' }));
      guest.sendFrame(udpFrame(where(number), 1 + (number % 60_000), 80, new Uint8Array(10)));
    }
    await new Promise(setImmediate);
    expect(net.stats()).toMatchObject({ tcpConnections: 4096, udpFlows: 512 });
    expect(out).toBeGreaterThan(15_000); // the others were refused
    clock.advance(11_000);
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    expect(net.stats().tcpConnections).toBe(0); // no answer is a no
    await net.close();
  });
});
