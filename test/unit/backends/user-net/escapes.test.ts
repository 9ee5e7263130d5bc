/** A guest's attempts to get past its policy by a name, by time, or by an address that is another's. */
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { NetPolicy } from '../../../../src/backends/user-net/net-policy.js';
import { ip, tcpFrame, udpFrame } from '../../../support/net/guest-frames.js';
import {
  resolveName,
  tries,
  type UserNetBench,
  until,
  userNet,
} from '../../../support/net/user-net-bench.js';
import { VirtualClock } from '../../../support/net/virtual-clock.js';

const REFUSED = 5;
const NO_NAME = 3;
const GOOD = '93.184.216.34';
const answered = (policy: NetPolicy): UserNetBench =>
  userNet({ ...policy, connect: () => new PassThrough() });

describe('a name that two readers read differently', () => {
  const spellings: [string, string, string[]?][] = [
    ['a zero byte, where the host’s resolver stops', 'localhost\0.good.example'],
    ['a wide letter', 'ｌocalhost'],
    ['a hyphen that is not shown', 'loca\u00adlhost'],
    ['letters of a language, not in their ASCII form', 'bücher.good.example'],
    ['a blank', 'local host.good.example'],
    ['a slash', 'localhost/.good.example'],
    ['a zone', 'fe80::1%lo'],
    [
      'a dot inside of a label, next to a zero byte',
      'localhost\0.good.example',
      ['localhost\0.good', 'example'],
    ],
    ['an empty label', '.good.example', ['.good', 'example']],
    ['a hyphen in front', '-a.good.example'],
  ];

  it.each(spellings)('is refused before anybody is asked: %s', async (_, name, labels) => {
    const asked: string[] = [];
    for (const allow of [['*.good.example', '127.0.0.0/8', '::1'], undefined]) {
      await using bench = answered({ allow, dns: (question) => void asked.push(question.name) as never });
      expect(await resolveName(bench, name, labels)).toEqual({ code: REFUSED, addresses: [] });
      expect(bench.decisions).toMatchObject([
        { verdict: 'deny', proto: 'dns', reason: 'not the name of a host' },
      ]);
    }
    expect(asked).toEqual([]);
  });

  it('is one name in any case, and may be of labels with hyphens, underscores and digits', async () => {
    const asked: string[] = [];
    const dns = ({ name }: { name: string }): string[] => {
      asked.push(name);
      return [GOOD];
    };
    await using bench = answered({ allow: ['*.good.example', 'xn--bcher-kva.example'], dns });
    for (const name of ['_a-1.GOOD.Example', 'XN--Bcher-KVA.example']) {
      expect((await resolveName(bench, name)).addresses).toEqual([GOOD]);
    }
    expect(asked).toEqual(['_a-1.good.example', 'xn--bcher-kva.example']);
    expect((await resolveName(bench, 'good.example.evil.example')).code).toBe(REFUSED);
    expect((await resolveName(bench, 'badgood.example')).code).toBe(REFUSED);
  });

  it.each(['127.1', '2130706433', '0x7f000001', '0177.0.0.1'])(
    'leads to the host’s loopback by no spelling of its address: %s',
    async (name) => {
      await using bench = answered({});
      expect((await resolveName(bench, name)).addresses).toEqual([]);
      expect(await tries(bench, '127.0.0.1')).toBe(false);
    },
  );
});

describe('a name whose addresses change', () => {
  it('opens what it led to, and what it leads to now, and not the host', async () => {
    let addresses = [GOOD];
    await using bench = answered({ allow: ['good.example'], dns: () => addresses });
    for (const next of [
      ['127.0.0.1'],
      ['169.254.169.254'],
      ['10.0.2.2'],
      ['::ffff:7f00:1'],
      ['93.184.216.35'],
    ]) {
      await resolveName(bench, 'good.example');
      expect(await tries(bench, addresses[0]!)).toBe(addresses[0] === GOOD);
      addresses = next;
    }
    await resolveName(bench, 'good.example');
    expect([await tries(bench, '93.184.216.35'), await tries(bench, GOOD)]).toEqual([true, true]);
  });

  it('is not believed for ever', async () => {
    const clock = new VirtualClock();
    await using bench = userNet({ clock, allow: ['good.example'], dns: () => [GOOD], connect: () => false });
    await resolveName(bench, 'good.example');
    const reason = async (): Promise<string> => {
      await tries(bench, GOOD);
      return bench.decisions.at(-1)!.reason;
    };
    expect(await reason()).toBe('connect'); // past the list
    clock.advance(7 * 3600_000);
    expect(await reason()).toBe('no rule of allow matches');
  });

  it('that leads to what is denied is not told by the host’s resolver, and does not open it', async () => {
    await using told = answered({ allow: ['localhost', '127.0.0.1'], deny: ['127.0.0.0/8', '::1'] });
    expect((await resolveName(told, 'localhost')).code).toBe(NO_NAME);
    await using bench = answered({ deny: ['93.184.216.0/24'], dns: () => [GOOD] });
    await resolveName(bench, 'good.example');
    expect(await tries(bench, GOOD)).toBe(false);
  });

  it('that nobody answers for has failed after 10 s', async () => {
    const clock = new VirtualClock();
    let asked = false;
    await using bench = userNet({
      clock,
      dns: () => {
        asked = true;
        return new Promise(() => {});
      },
    });
    const answer = resolveName(bench, 'good.example');
    await until(() => asked, 'the question');
    clock.advance(11_000);
    expect((await answer).code).toBe(2);
    expect(bench.decisions).toMatchObject([{ verdict: 'deny', proto: 'dns', reason: 'dns: failed' }]);
  });
});

describe('what is for many', () => {
  it.each(['224.0.0.251', '239.255.255.250', '255.255.255.255', '10.0.2.255', 'ff02::fb', 'ff0e::1'])(
    'leaves the guest’s network neither by UDP nor by TCP: %s',
    async (address) => {
      const addresses = [address, '0.0.0.0/0', '::/0', '*', '224.0.0.0/4', 'ff00::/8', '10.0.0.0/8'];
      await using bench = answered({ allow: addresses });
      const ends = bench.guest.ends(ip(address));
      bench.guest.sendFrame(udpFrame(ends, 5353, 5353, new Uint8Array(20)));
      bench.guest.sendFrame(tcpFrame(ends, { sourcePort: 1000, destinationPort: 80, seq: 1, flags: 'S' }));
      await until(() => bench.net.stats().framesIn === 2);
      await new Promise(setImmediate);
      const { udpFlows, tcpConnections } = bench.net.stats();
      const allowed = bench.decisions.filter(({ verdict }) => verdict === 'allow');
      expect([udpFlows, tcpConnections, allowed]).toEqual([0, 0, []]);
    },
  );
});

describe('UDP', () => {
  it.each([
    '127.0.0.1',
    '10.0.2.2',
    '0.0.0.0',
    '169.254.169.254',
    '::ffff:7f00:1',
    '64:ff9b::a9fe:a9fe',
    'fe80::9',
    'fc00::1',
  ])('does not reach what TCP does not: %s', async (address) => {
    await using bench = userNet({});
    bench.guest.sendUdp(address, 5000, 53, new Uint8Array(20));
    await until(() => bench.decisions.length === 1, 'a decision');
    expect(bench.decisions).toMatchObject([{ verdict: 'deny', proto: 'udp', port: 53 }]);
  });
});

describe('a guest', () => {
  it('is one by its address: a card that is another’s, or a group, changes nothing', async () => {
    await using bench = userNet({ allow: [] });
    const forged = { ...bench.guest.ends(ip(GOOD)), fromMac: Uint8Array.of(2, 9, 9, 9, 9, 9) };
    bench.guest.sendFrame(udpFrame(forged, 1, 80, new Uint8Array(4)));
    await until(() => bench.decisions.length === 1, 'a decision');
    expect(bench.decisions).toMatchObject([{ verdict: 'deny', reason: 'no rule of allow matches' }]);
    bench.guest.sendFrame(
      udpFrame({ ...forged, fromMac: Uint8Array.of(3, 0, 0, 0, 0, 1) }, 2, 80, new Uint8Array(4)),
    );
    bench.guest.sendFrame(new Uint8Array(65_550).fill(0xa5)); // to nobody's card
    bench.guest.sendFrame(Uint8Array.from([...bench.guest.gatewayMac, ...new Array(65_540).fill(0x45)]));
    await until(() => bench.net.stats().framesIn === 4);
    expect(bench.net.stats()).toMatchObject({ dropped: 3, framesOut: expect.any(Number) });
    expect(bench.decisions).toHaveLength(1);
  });
});
