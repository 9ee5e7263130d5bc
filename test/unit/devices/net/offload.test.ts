/** Work that a frame leaves to its receiver: what is believed, what is done, and who is spared it. */
import { describe, expect, it } from 'vitest';
import { Hub } from '../../../../src/backends/hub.js';
import { FrameLink } from '../../../../src/devices/net/frame-link.js';
import { checksum, finish, soundHeader, takes } from '../../../../src/devices/net/offload.js';
import { TestCard } from '../../../support/net-card.js';
import { GUEST_MAC, NF, netHeader, OTHER_MAC } from '../../../support/net-driver.js';
import { Random } from '../../../support/random.js';
import { readTcp, tcpFrame } from '../../../support/tcp-frame.js';
import { TestNetwork } from '../../../support/test-vnet.js';

const random = Random.fromEnvironment(77);
const bytes = (length: number): Uint8Array => random.bytes(length);
const joined = (parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(parts));

describe('a checksum left to the receiver', () => {
  it.each([
    ['IPv4', { version: 4 as const }],
    ['IPv6', { version: 6 as const }],
    ['IPv4 with a VLAN tag', { version: 4 as const, tagged: true }],
    ['IPv6 with TCP options', { version: 6 as const, options: 12 }],
  ])('is filled in: %s', (_what, options) => {
    for (const length of [1, 2, 3, 100, 1447, 1448]) {
      const data = bytes(length);
      const { frame, header } = tcpFrame({ ...options, data });
      const [done, ...more] = finish({ bytes: frame, header: soundHeader({ bytes: frame, header })! });
      expect([more, done!.header.flags]).toEqual([[], 0]);
      expect(readTcp(done!.bytes).data).toEqual(data);
    }
  });

  it('is 0xffff where it would be 0, which UDP reads as none', () => {
    const frame = new Uint8Array(60);
    frame.set([0xff, 0xff], 40);
    const header = { flags: 1, gsoType: 0, hdrLen: 0, gsoSize: 0, csumStart: 34, csumOffset: 0 };
    const [done] = finish({ bytes: frame, header });
    expect([...done!.bytes.subarray(34, 36)]).toEqual([0xff, 0xff]);
  });

  it('is that of RFC 1071 §3', () => {
    const example = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
    expect(checksum(example, 0, 8)).toBe(~0xddf2 & 0xffff);
    expect(checksum(Uint8Array.of(0xab), 0, 1)).toBe(~0xab00 & 0xffff);
  });
});

describe('a frame to be cut', () => {
  it.each([
    { version: 4 as const, gsoType: 1, size: 65_000, mss: 1448 },
    { version: 6 as const, gsoType: 4, size: 65_000, mss: 1428 },
    { version: 4 as const, gsoType: 1, size: 2897, mss: 1448 },
    { version: 6 as const, gsoType: 4, size: 2856, mss: 1428, tagged: true },
    { version: 4 as const, gsoType: 1, size: 1000, mss: 1, options: 40 },
  ])('becomes packets of $mss bytes: IPv$version, $size bytes', ({ gsoType, size, mss, ...options }) => {
    const data = bytes(size);
    // FIN, PSH, ACK and CWR, from just below 2^32 on.
    const { frame, header } = tcpFrame({ ...options, data, sequence: 0xffff_fff0, flags: 0x99, id: 0xffff });
    const sound = soundHeader({
      bytes: frame,
      header: { ...header, gsoType: gsoType | 0x80, gsoSize: mss },
    })!;
    expect(sound.gsoType).toBe(gsoType | 0x80);
    const packets = finish({ bytes: frame, header: sound }).map(({ bytes }) => readTcp(bytes));
    expect(joined(packets.map(({ data }) => data))).toEqual(data);
    expect(packets).toHaveLength(Math.ceil(size / mss));
    let expected = 0xffff_fff0;
    for (const [index, packet] of packets.entries()) {
      const last = index === packets.length - 1;
      expect(packet.data.length).toBe(last ? size - index * mss : mss);
      expect(packet.sequence).toBe(expected);
      expect(packet.flags).toBe(0x10 | (last ? 0x09 : 0) | (index === 0 ? 0x80 : 0));
      if (packet.version === 4) expect(packet.id).toBe((0xffff + index) & 0xffff);
      expected = (expected + packet.data.length) % 2 ** 32;
    }
  });

  it('is not cut when one packet holds it', () => {
    const { frame, header } = tcpFrame({ data: bytes(1000) });
    const sound = soundHeader({ bytes: frame, header: { ...header, gsoType: 1, gsoSize: 1448 } })!;
    expect(sound).toMatchObject({ gsoType: 0, flags: 1 });
  });
});

describe('a header is not believed', () => {
  const { frame, header, headers } = tcpFrame({ data: bytes(3000) });
  const cut = { ...header, gsoType: 1, gsoSize: 1448 };
  it.each([
    ['to be cut without a checksum', { ...cut, flags: 0 }],
    ['to be cut into nothing', { ...cut, gsoSize: 0 }],
    ['IPv4 called IPv6', { ...cut, gsoType: 4 }],
    ['UDP', { ...cut, gsoType: 3 }],
    ['UDP, the new way', { ...cut, gsoType: 5 }],
    ['an unknown kind', { ...cut, gsoType: 2 }],
    ['a checksum that starts elsewhere', { ...cut, csumStart: 30 }],
    ['a checksum of UDP', { ...cut, csumOffset: 6 }],
    ['a checksum beyond the frame', { ...header, csumStart: frame.length - 17 }],
    ['a checksum far beyond', { ...header, csumStart: 0xffff, csumOffset: 0xffff }],
    ['a checksum of the addresses', { ...header, csumStart: 0 }],
  ])('%s', (_what, wrong) => {
    expect(soundHeader({ bytes: frame, header: wrong })).toBeUndefined();
  });

  it.each([
    ['cut off in its TCP header', (copy: Uint8Array) => copy.subarray(0, headers - 1)],
    ['without data', (copy: Uint8Array) => copy.subarray(0, headers)],
    ['with a TCP header of 16 bytes', (copy: Uint8Array) => copy.fill(0x40, headers - 8, headers - 7)],
    [
      'with a TCP header beyond its end',
      (copy: Uint8Array) => copy.fill(0xf0, headers - 8, headers - 7).subarray(0, 70),
    ],
    ['with an IP header of 16 bytes', (copy: Uint8Array) => copy.fill(0x44, 14, 15)],
    ['of UDP', (copy: Uint8Array) => copy.fill(17, 23, 24)],
    ['of ARP', (copy: Uint8Array) => copy.fill(6, 13, 14)],
  ])('of a frame %s', (_what, change) => {
    expect(soundHeader({ bytes: change(frame.slice()), header: cut })).toBeUndefined();
  });

  it('but hdr_len means nothing, and neither do flags that only hosts set', () => {
    const odd = { ...header, hdrLen: 0xffff, flags: 0xff };
    expect(soundHeader({ bytes: frame, header: odd })).toEqual({ ...header, hdrLen: 0 });
    expect(soundHeader({ bytes: frame, header: { ...header, flags: 2 } })).toMatchObject({
      flags: 0,
      csumStart: 0,
    });
  });

  it('at random, and nothing fails', () => {
    for (let round = 0; round < 3000; round += 1) {
      const copy = frame.slice(0, 14 + random.below(frame.length - 14));
      for (let flips = random.below(4); flips > 0; flips -= 1) copy[random.below(80)] = random.below(256);
      const any = {
        flags: random.below(4),
        gsoType: random.pick([0, 1, 4, 0x81]),
        hdrLen: 0,
        gsoSize: random.below(3000),
        csumStart: random.pick([34, random.below(0x1_0000)]),
        csumOffset: random.pick([16, random.below(0x1_0000)]),
      };
      const sound = soundHeader({ bytes: copy, header: any });
      if (!sound) continue;
      const done = finish({ bytes: copy, header: sound });
      expect(done.length).toBeGreaterThan(0);
      for (const { bytes } of done) expect(bytes.length).toBeLessThanOrEqual(copy.length);
    }
  });
});

describe('a receiver', () => {
  it.each([
    [0n, 0, 0, true],
    [0n, 1, 0, false],
    [NF.GUEST_CSUM, 1, 0, true],
    [NF.GUEST_CSUM, 1, 1, false],
    [NF.GUEST_CSUM | NF.GUEST_TSO4, 1, 1, true],
    [NF.GUEST_CSUM | NF.GUEST_TSO4, 1, 4, false],
    [NF.GUEST_CSUM | NF.GUEST_TSO6, 1, 4, true],
    [NF.GUEST_CSUM | NF.GUEST_TSO4, 1, 0x81, false],
    [NF.GUEST_CSUM | NF.GUEST_TSO4 | (1n << 9n), 1, 0x81, true],
  ])('with offloads %i takes flags %i and type %i: %s', (offloads, flags, gsoType, taken) => {
    const { header } = tcpFrame({ data: bytes(10) });
    expect(takes(offloads, { ...header, flags, gsoType })).toBe(taken);
  });
});

describe('between two guests on a hub', () => {
  const data = bytes(40_000);
  const { frame, header } = tcpFrame({ data });
  const raw = netHeader(1, 1, header.hdrLen, 1448, header.csumStart, header.csumOffset);
  const cards = () => {
    const hub = new Hub();
    const make = (mac: string, address: Uint8Array): TestCard =>
      new TestCard(new FrameLink(hub.port(mac)), address);
    return [make('02:00:00:00:00:01', GUEST_MAC), make('02:00:00:00:00:02', OTHER_MAC)] as const;
  };

  it('a large frame goes as it is', async () => {
    const [one, other] = cards();
    one.start();
    other.start();
    await one.send(frame, raw);
    expect(await other.take(1)).toEqual([frame]);
    expect(other.received[0]!.header.subarray(0, 10)).toEqual(Buffer.from(raw.subarray(0, 10)));
  });

  it('one that its receiver cannot take is cut and complete', async () => {
    const [one, other] = cards();
    one.start();
    other.start({ features: ~(NF.GUEST_TSO4 | (1n << 9n)) & ~(NF.GUEST_CSUM | NF.GUEST_TSO6) });
    await one.send(frame, raw);
    const packets = await other.take(28);
    expect(joined(packets.map((packet) => readTcp(packet).data))).toEqual(data);
    expect(other.received.every(({ header }) => header[0] === 0 && header[1] === 0)).toBe(true);
  });

  it('the packets of one frame wait for buffers like others', async () => {
    const [one, other] = cards();
    one.start();
    other.start({ features: ~(NF.GUEST_TSO4 | NF.GUEST_TSO6 | (1n << 9n)), buffers: 3 });
    await one.send(frame, raw);
    const packets = await other.take(28);
    expect(joined(packets.map((packet) => readTcp(packet).data))).toEqual(data);
  });
});

describe("an embedder's network with offloads", () => {
  it('gets large frames with a header, and may give some', async () => {
    const network = new TestNetwork('02:00:00:00:00:01', true);
    const card = new TestCard(new FrameLink(network), GUEST_MAC).start();
    const { frame, header } = tcpFrame({ data: bytes(5000) });
    await card.send(frame, netHeader(1, 1, 0, 1000, header.csumStart, 16));
    expect(network.sent).toEqual([frame]);
    expect(network.headers).toEqual([{ ...header, gsoType: 1, gsoSize: 1000 }]);
    frame.set(GUEST_MAC);
    expect(network.receive(frame, { ...header, gsoType: 1, gsoSize: 1000 })).toBe(true);
    expect(await card.take(1)).toEqual([frame]);
  });

  it('is told of a header that does not fit', () => {
    const network = new TestNetwork('02:00:00:00:00:01', true);
    new TestCard(new FrameLink(network), GUEST_MAC).start();
    const { frame, header } = tcpFrame({ data: bytes(5000) });
    expect(() => network.receive(frame, { ...header, gsoType: 1, gsoSize: 0 })).toThrow('does not fit');
  });
});
