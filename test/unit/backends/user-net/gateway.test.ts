/** What the gateway answers by itself: ARP, DHCP, discovery, echo; and what it drops. */
import { describe, expect, it } from 'vitest';
import { icmpFrame, ip, ipFrame, type Seen, sum16, udpFrame } from '../../../support/net/guest-frames.js';
import { type UserNetBench, until, userNet } from '../../../support/net/user-net-bench.js';

const GATEWAY = '10.0.2.2';

function packets(bench: UserNetBench): Seen[] {
  const seen: Seen[] = [];
  bench.guest.onPacket = (packet) => void seen.push(packet);
  return seen;
}

/** A DHCP message: type, and options after it. */
function dhcp(
  type: number,
  options: number[] = [],
  { mac = [2, 0, 0, 0, 0, 1], current = [0, 0, 0, 0] } = {},
): Uint8Array {
  const bytes = new Uint8Array(240 + 3 + options.length + 1);
  bytes.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, ...current]);
  bytes.set(mac, 28);
  bytes.set([99, 130, 83, 99, 53, 1, type, ...options, 255], 236);
  return bytes;
}

function ask(bench: UserNetBench, message: Uint8Array, from = '0.0.0.0'): void {
  const { guest } = bench;
  const ends = {
    fromMac: guest.mac,
    toMac: new Uint8Array(6).fill(255),
    from: ip(from),
    to: ip('255.255.255.255'),
  };
  guest.sendFrame(udpFrame(ends, 68, 67, message));
}

function optionsOf(message: Uint8Array): Map<number, number[]> {
  const options = new Map<number, number[]>();
  for (let at = 240; message[at] !== 255; at += 2 + message[at + 1]!) {
    options.set(message[at]!, [...message.slice(at + 2, at + 2 + message[at + 1]!)]);
  }
  return options;
}

async function answers(bench: UserNetBench, ...requests: (() => void)[]): Promise<Uint8Array[]> {
  const got: Uint8Array[] = [];
  bench.guest.onUdp = ({ data, sourcePort, destinationPort }) => {
    expect([sourcePort, destinationPort]).toEqual([67, 68]);
    got.push(data);
  };
  for (const [index, request] of requests.entries()) {
    request();
    await until(() => got.length === index + 1, `answer ${index}`);
  }
  return got;
}

describe('the DHCP server', () => {
  it('offers and confirms an address with what belongs to it', async () => {
    await using bench = userNet({ hostname: 'guest', domain: 'example.test', mtu: 1400 });
    const [offer, ack] = await answers(
      bench,
      () => ask(bench, dhcp(1)),
      () => ask(bench, dhcp(3, [50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2])),
    );
    expect([...offer!.slice(16, 20)]).toEqual([10, 0, 2, 15]);
    expect([...ack!.slice(4, 8)]).toEqual([0xde, 0xad, 0xbe, 0xef]);
    const options = optionsOf(ack!);
    expect(options.get(53)).toEqual([5]);
    expect(options.get(1)).toEqual([255, 255, 255, 0]);
    expect(options.get(3)).toEqual([10, 0, 2, 2]);
    expect(options.get(6)).toEqual([10, 0, 2, 3]);
    expect(options.get(28)).toEqual([10, 0, 2, 255]);
    expect(options.get(26)).toEqual([1400 >> 8, 1400 & 255]);
    expect(options.get(51)).toEqual([0, 1, 0x51, 0x80]);
    expect(Buffer.from(options.get(12)!).toString()).toBe('guest');
    expect(Buffer.from(options.get(15)!).toString()).toBe('example.test');
  });

  it('refuses an address that is not the client’s, and gives the next client the next one', async () => {
    await using bench = userNet();
    const other = { mac: [2, 0, 0, 0, 0, 9] };
    const [, nak, offer, again] = await answers(
      bench,
      () => ask(bench, dhcp(1)),
      () => ask(bench, dhcp(3, [50, 4, 192, 168, 1, 5])),
      () => ask(bench, dhcp(1, [], other)),
      () => ask(bench, dhcp(1)),
    );
    expect(optionsOf(nak!).get(53)).toEqual([6]);
    expect([...offer!.slice(16, 20)]).toEqual([10, 0, 2, 16]);
    expect([...again!.slice(16, 20)]).toEqual([10, 0, 2, 15]);
  });

  it('runs out of addresses, not of memory', async () => {
    await using bench = userNet({ subnet: '10.9.8.0/28' });
    let got = 0;
    bench.guest.onUdp = () => {
      got += 1;
    };
    for (let client = 0; client < 500; client += 1) {
      ask(bench, dhcp(1, [], { mac: [2, 0, 0, 1, client >> 8, client & 255] }));
    }
    await until(() => bench.net.stats().framesIn === 500 && bench.net.stats().framesOut === got);
    expect(got).toBe(11); // .4 to .14
  });
});

describe('the gateway', () => {
  it('answers ARP for its own addresses alone', async () => {
    await using bench = userNet();
    const seen = packets(bench);
    for (const target of [GATEWAY, '10.0.2.3', '10.0.2.77']) bench.guest.arpRequest(target);
    await until(() => bench.net.stats().framesIn === 3);
    await until(() => seen.length >= 2);
    expect(seen.map(({ payload }) => [...payload.slice(6, 8), ...payload.slice(14, 18)])).toEqual([
      [0, 2, 10, 0, 2, 2],
      [0, 2, 10, 0, 2, 3],
    ]);
  });

  it('answers echo requests, and says that others cannot be reached', async () => {
    await using bench = userNet();
    const seen = packets(bench);
    bench.guest.ping(GATEWAY);
    bench.guest.ping('fd74:7970:6576::2');
    bench.guest.ping('8.8.8.8');
    await until(() => seen.length === 3);
    expect(seen.map(({ payload }) => [payload[0], payload[1]])).toEqual([
      [0, 0],
      [129, 0],
      [3, 13],
    ]);
    expect([...seen[0]!.payload.slice(4)]).toEqual([0, 1, 0, 1, 9, 8, 7]);
  });

  it('advertises itself, its prefix and its resolver', async () => {
    await using bench = userNet();
    const seen = packets(bench);
    const ends = {
      ...bench.guest.ends(ip('ff02::2')),
      from: ip('fe80::1'),
      toMac: Uint8Array.of(0x33, 0x33, 0, 0, 0, 2),
    };
    bench.guest.sendFrame(icmpFrame(ends, 133, 0, new Uint8Array(4), 255));
    await until(() => seen.length === 1);
    const { payload, ttl, from, to } = seen[0]!;
    expect([payload[0], ttl]).toEqual([134, 255]);
    expect([from, to]).toEqual([ip('fe80::2'), ip('fe80::1')]);
    const options = new Map<number, Uint8Array>();
    for (let at = 16; at < payload.length; at += payload[at + 1]! * 8)
      options.set(payload[at]!, payload.slice(at));
    expect([...options.keys()]).toEqual([1, 3, 5, 25]);
    expect(options.get(3)![3]).toBe(0xc0);
    expect(options.get(3)!.slice(16, 32)).toEqual(ip('fd74:7970:6576::'));
    expect(options.get(25)!.slice(8, 24)).toEqual(ip('fd74:7970:6576::3'));
  });

  it('answers neighbour solicitations, and not those that a router passed on', async () => {
    await using bench = userNet();
    const seen = packets(bench);
    const ends = {
      ...bench.guest.ends(ip('ff02::1:ff00:2')),
      toMac: Uint8Array.of(0x33, 0x33, 0xff, 0, 0, 2),
    };
    const rest = Uint8Array.from([0, 0, 0, 0, ...ip('fd74:7970:6576::2')]);
    bench.guest.sendFrame(icmpFrame(ends, 135, 0, rest, 254));
    bench.guest.sendFrame(icmpFrame(ends, 135, 0, rest, 255));
    await until(() => seen.length === 1);
    expect(seen[0]!.payload[0]).toBe(136);
    expect([...seen[0]!.payload.slice(26, 32)]).toEqual([...bench.guest.gatewayMac]);
    expect(bench.net.stats().dropped).toBe(1);
  });

  it('drops frames from addresses that are not the guest’s', async () => {
    await using bench = userNet({ allow: ['*'] });
    const ends = bench.guest.ends(ip('8.8.8.8'));
    for (const from of ['192.168.7.7', GATEWAY, '10.0.2.255', '127.0.0.1', '224.0.0.1']) {
      bench.guest.sendFrame(udpFrame({ ...ends, from: ip(from) }, 1, 53, new Uint8Array(4)));
    }
    const gateway = bench.guest.ends(ip(GATEWAY));
    bench.guest.sendFrame(icmpFrame({ ...gateway, from: ip('192.168.7.7') }, 8, 0, new Uint8Array(8)));
    await until(() => bench.net.stats().framesIn === 6);
    expect(bench.net.stats()).toMatchObject({ dropped: 6, udpFlows: 0, framesOut: 0 });
    expect(bench.decisions).toEqual([]);
  });

  it('drops what is damaged, and source routes', async () => {
    await using bench = userNet();
    const seen = packets(bench);
    const good = icmpFrame(bench.guest.ends(ip(GATEWAY)), 8, 0, new Uint8Array(8));
    for (let at = 14; at < good.length; at += 1) {
      const bad = good.slice();
      bad[at] = bad[at]! ^ 0x10;
      bench.guest.sendFrame(bad);
    }
    const route = ipFrame(bench.guest.ends(ip(GATEWAY)), 1, good.subarray(34)).slice();
    const routed = Uint8Array.from([...route.slice(0, 34), 131, 7, 4, 8, 8, 8, 8, 0, ...route.slice(34)]);
    routed[14] = 0x47;
    routed[17] = routed.length - 14;
    routed.set([0, 0], 24);
    const sum = sum16(routed.subarray(14, 42));
    routed.set([sum >> 8, sum & 255], 24);
    bench.guest.sendFrame(routed);
    await until(() => bench.net.stats().framesIn === good.length - 13);
    expect(bench.net.stats()).toMatchObject({ dropped: good.length - 13, framesOut: 0 });
    bench.guest.sendFrame(good);
    await until(() => seen.length === 1);
  });

  it('puts fragments together, and drops those that overlap', async () => {
    await using bench = userNet();
    const seen = packets(bench);
    const whole = icmpFrame(
      bench.guest.ends(ip(GATEWAY)),
      8,
      0,
      Uint8Array.from({ length: 3000 }, (_, at) => at & 255),
    );
    const payload = whole.subarray(34);
    const ends = bench.guest.ends(ip(GATEWAY));
    const piece = (id: number, start: number, stop: number, more: boolean): Uint8Array =>
      ipFrame(ends, 1, payload.slice(start, stop), { id, fragment: (more ? 0x2000 : 0) | (start / 8) });
    for (const frame of [piece(1, 1480, 2960, true), piece(1, 2960, 3004, false), piece(1, 0, 1480, true)]) {
      bench.guest.sendFrame(frame);
    }
    // Their bytes add up to the whole, and the hole would hold what belongs there.
    const zeroes = icmpFrame(ends, 8, 0, new Uint8Array(3000)).subarray(34);
    for (const [start, stop, more] of [
      [0, 1480, true],
      [1472, 2952, true],
      [2960, 3004, false],
    ] as const) {
      const fragment = (more ? 0x2000 : 0) | (start / 8);
      bench.guest.sendFrame(ipFrame(ends, 1, zeroes.slice(start, stop), { id: 2, fragment }));
    }
    await until(() => bench.net.stats().framesIn === 6);
    await until(() => seen.length >= 3);
    // One answer, itself in three fragments.
    expect(bench.net.stats().framesOut).toBe(3);
    const bytes = Buffer.concat(seen.map((packet) => packet.payload));
    expect(bytes.length).toBe(3004);
    expect(bytes.subarray(8).equals(Buffer.from(payload.subarray(8)))).toBe(true);
  });
});

describe('options of a network', () => {
  it.each([
    [{ subnet: '10.0.2.0' }, 'subnet: "10.0.2.0" is no IPv4 network'],
    [{ subnet: '10.0.0.0/8' }, 'subnet: "10.0.0.0/8" must have 24 to 28 bits'],
    [{ subnet: '10.0.2.1/24' }, 'subnet: "10.0.2.1/24" has bits set behind its 24'],
    [{ mtu: 500 }, 'mtu: must be 1280 to 65535, not 500'],
    [{ hostname: 'a b' }, 'hostname: "a b" is not a name'],
    [{ allow: ['ok.example', '10.0.0.0/99'] }, 'allow.1: '],
    [{ deny: ['x:0'] }, 'deny.0: '],
    [{ connect: 1 as never }, 'connect: must be a function'],
  ])('%j is refused by name', (options, message) => {
    expect(() => userNet(options)).toThrow(message);
  });
});
