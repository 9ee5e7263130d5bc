/** What virtio 1.2 requires of a network device (§5.1). */
import { describe, expect, it } from 'vitest';
import { NetDevice } from '../../src/devices/net/device.js';
import { FrameLink } from '../../src/devices/net/frame-link.js';
import { REG } from '../support/fake-driver.js';
import {
  BROADCAST,
  command,
  ethernet,
  GUEST_MAC,
  HDR,
  join,
  le16,
  le64,
  macList,
  NET_CONFIG,
  NF,
  netHeader,
  OTHER_MAC,
  plugNet,
  whole,
} from '../support/net-driver.js';
import { plug } from '../support/plug.js';
import { TestNetwork, TestVnet } from '../support/test-vnet.js';

const OK = 0;
const ERR = 1;
const MULTICAST = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);
const OFFLOADS = NF.CSUM | NF.GUEST_CSUM | NF.GUEST_TSO4 | NF.GUEST_TSO6 | NF.HOST_TSO4 | NF.HOST_TSO6;

describe('§5.1.4.1 Device Requirements: Device configuration layout', () => {
  it('max_virtqueue_pairs is that of the back end, 1 to 0x8000, where MQ is offered', () => {
    const { driver } = plugNet({ network: new TestVnet({ pairs: 4 }) });
    driver.start();
    expect(driver.offered & NF.MQ).not.toBe(0n);
    expect(driver.config(NET_CONFIG.pairs, 2)).toBe(4);
  });

  it('mtu is what was configured, and only with the feature', () => {
    const { driver } = plugNet({ mtu: 9000 });
    driver.start();
    expect(driver.config(NET_CONFIG.mtu, 2)).toBe(9000);
    expect(plugNet().driver.offered & NF.MTU).toBe(0n);
  });

  it('the driver cannot change mtu', () => {
    const { driver } = plugNet({ mtu: 1400 });
    driver.start();
    void driver.write(REG.Config + NET_CONFIG.mtu, 9000, 2);
    expect(driver.config(NET_CONFIG.mtu, 2)).toBe(1400);
  });

  it('frames beyond mtu and an Ethernet header are not passed on once MTU was negotiated', () => {
    const { driver, network, device } = plugNet({ mtu: 1400 });
    driver.start();
    driver.queue(0).post([4096]);
    network.deliver(whole(ethernet(1400 + 18 + 1)));
    expect(driver.queue(0).collect()).toEqual([]);
    expect(device.stats.receiveDropped).toBe(1);
    network.deliver(whole(ethernet(1400 + 18)));
    expect(driver.queue(0).collect()[0]).toMatchObject({ length: HDR + 1418 });
  });

  it('frames of mtu bytes and an Ethernet header are sent whole', () => {
    const { driver, network } = plugNet({ mtu: 9000 });
    driver.start();
    const frame = ethernet(9014);
    driver.queue(1).post([whole(frame)]);
    expect(network.sent[0]).toEqual([whole(frame)]);
  });

  it('mac and status are what the host says', () => {
    const { driver, device } = plugNet();
    driver.start();
    expect(Array.from({ length: 6 }, (_, at) => driver.config(at, 1))).toEqual([...GUEST_MAC]);
    expect(driver.config(NET_CONFIG.status, 2)).toBe(1);
    device.setLink(false);
    expect([driver.config(NET_CONFIG.status, 2), driver.handleInterrupt()]).toEqual([0, 2]);
  });
});

describe('§5.1.6.2.2 Device Requirements: Packet Transmission', () => {
  const plugged = () => {
    const network = new TestNetwork();
    return { network, ...plug(new NetDevice('net0', { backend: new FrameLink(network), mac: GUEST_MAC })) };
  };

  it('flag bits that are unknown are ignored', () => {
    const { driver, network } = plugged();
    driver.start();
    const frame = ethernet(60);
    driver.queue(1).post([join(netHeader(0xfe), frame)]);
    expect(network.sent).toEqual([frame]);
  });

  it('csum_start and csum_offset mean nothing without NEEDS_CSUM', () => {
    const { driver, network } = plugged();
    driver.start();
    const frame = ethernet(60);
    driver.queue(1).post([join(netHeader(0, 0, 0, 0, 0xffff, 0xffff), frame)]);
    expect(network.sent).toEqual([frame]);
  });

  it('hdr_len is not relied on', () => {
    const { driver, network } = plugged();
    driver.start();
    const frame = ethernet(60);
    driver.queue(1).post([join(netHeader(0, 0, 0xffff), frame)]);
    expect(network.sent).toEqual([frame]);
  });

  it.each([1, 3, 4, 5])('a frame to be cut is dropped when that was not offered: gso_type %i', (gsoType) => {
    const { driver, network, device } = plugged();
    driver.start();
    driver.queue(1).post([join(netHeader(1, gsoType, 54, 1000, 34, 16), ethernet(3000))]);
    expect(driver.queue(1).collect()).toHaveLength(1);
    expect([network.sent, device.stats.malformed]).toEqual([[], 1]);
  });
});

describe('§5.1.6.3.2 Device Requirements: Setting Up Receive Buffers', () => {
  it('num_buffers says how many buffers hold the frame', () => {
    const { driver, network } = plugNet();
    driver.start();
    for (let count = 0; count < 4; count += 1) driver.queue(0).post([100]);
    const frame = ethernet(250);
    network.deliver(whole(frame));
    const used = driver.queue(0).collect();
    expect(used.map(({ length }) => length)).toEqual([100, 100, HDR + 250 - 200]);
    const all = join(...used.map(({ posted, length }) => posted!.written().subarray(0, length)));
    expect(all).toEqual(join(netHeader(0, 0, 0, 0, 0, 0, 3), frame));
  });

  it('one buffer is used without MRG_RXBUF', () => {
    const { driver, network, device } = plugNet();
    driver.start({ features: ~NF.MRG_RXBUF });
    driver.queue(0).post([100]);
    driver.queue(0).post([100]);
    network.deliver(whole(ethernet(150)));
    expect([driver.queue(0).collect(), device.stats.receiveDropped]).toEqual([[], 1]);
    network.deliver(whole(ethernet(80)));
    expect(driver.queue(0).collect()).toMatchObject([{ length: HDR + 80 }]);
  });
});

describe('§5.1.6.4.1 Device Requirements: Processing of Incoming Packets', () => {
  it('num_buffers is 1 without MRG_RXBUF', () => {
    const { driver, network } = plugNet();
    driver.start({ features: ~NF.MRG_RXBUF });
    const { written } = driver.queue(0).post([2000]);
    network.deliver(whole(ethernet(60)));
    expect(written().subarray(0, HDR)).toEqual(netHeader(0, 0, 0, 0, 0, 0, 1));
  });

  it('all buffers of a frame are shown together, all but the last one full', () => {
    const { driver, network } = plugNet();
    driver.start();
    for (const size of [64, 300, 2000]) driver.queue(0).post([size]);
    const before = driver.queue(0).usedIdx;
    network.deliver(whole(ethernet(1000)));
    expect(driver.queue(0).usedIdx - before).toBe(3);
    expect(
      driver
        .queue(0)
        .collect()
        .map(({ length }) => length),
    ).toEqual([64, 300, HDR + 1000 - 364]);
  });

  it('a frame waits for the buffers that it still needs', () => {
    const { driver, network } = plugNet();
    driver.start();
    driver.queue(0).post([500]);
    const frame = ethernet(1200);
    network.deliver(whole(frame));
    expect(driver.queue(0).usedIdx).toBe(0);
    driver.queue(0).post([400]);
    expect(driver.queue(0).usedIdx).toBe(0);
    driver.queue(0).post([1000]);
    const used = driver.queue(0).collect();
    expect(used.map(({ length }) => length)).toEqual([500, 400, HDR + 1200 - 900]);
    const all = join(...used.map(({ posted, length }) => posted!.written().subarray(0, length)));
    expect(all.subarray(HDR)).toEqual(frame);
  });

  it('flags are zero without GUEST_CSUM, whatever the host says', () => {
    const { driver, network } = plugNet({ network: new TestVnet({ offloads: OFFLOADS }) });
    driver.start({ features: ~(NF.GUEST_CSUM | NF.GUEST_TSO4 | NF.GUEST_TSO6) });
    const { written } = driver.queue(0).post([2000]);
    network.deliver(join(netHeader(2), ethernet(60)));
    expect(written()[0]).toBe(0);
  });

  it('with GUEST_CSUM and GUEST_TSO4 the header is passed on', () => {
    const { driver, network } = plugNet({ network: new TestVnet({ offloads: OFFLOADS }) });
    driver.start();
    const { written } = driver.queue(0).post([8000]);
    network.deliver(join(netHeader(1, 1, 54, 1448, 34, 16), ethernet(5000)));
    expect(written().subarray(0, HDR)).toEqual(netHeader(1, 1, 54, 1448, 34, 16, 1));
  });

  it('the back end hears what the driver can take, and makes no other frames', () => {
    const network = new TestVnet({ offloads: OFFLOADS });
    const { driver } = plugNet({ network });
    driver.start({ features: ~(NF.GUEST_TSO4 | NF.GUEST_TSO6) });
    expect(network.guestOffloads).toBe(NF.GUEST_CSUM);
  });

  it('the back end of plain frames gives plain headers', () => {
    const network = new TestNetwork();
    const { driver } = plug(new NetDevice('net0', { backend: new FrameLink(network), mac: GUEST_MAC }));
    expect(driver.offered & OFFLOADS).toBe(0n);
    driver.start();
    const { written } = driver.queue(0).post([2000]);
    expect(network.receive(ethernet(60))).toBe(true);
    expect(written().subarray(0, HDR + 60)).toEqual(join(netHeader(0, 0, 0, 0, 0, 0, 1), ethernet(60)));
  });
});

/** Destinations of frames that reach the driver, of own, other, broadcast and multicast. */
function reach({ driver, network }: ReturnType<typeof plugNet>): string[] {
  const kinds = { own: GUEST_MAC, other: OTHER_MAC, broadcast: BROADCAST, multicast: MULTICAST };
  return Object.entries(kinds).flatMap(([name, to]) => {
    driver.queue(0).post([2000]);
    network.deliver(whole(ethernet(60, { to })));
    return driver.queue(0).collect().length > 0 ? [name] : [];
  });
}

describe('§5.1.6.5.1.1 Device Requirements: Packet Receive Filtering', () => {
  const RX = 0;
  const modes = [
    { name: 'PROMISC', code: 0, on: ['own', 'other', 'broadcast', 'multicast'] },
    { name: 'ALLMULTI', code: 1, on: ['own', 'broadcast', 'multicast'] },
    { name: 'ALLUNI', code: 2, on: ['own', 'other', 'broadcast'] },
    { name: 'NOMULTI', code: 3, on: ['own', 'broadcast'] },
    { name: 'NOUNI', code: 4, on: ['broadcast'] },
    { name: 'NOBCAST', code: 5, on: ['own'] },
  ];

  it.each(modes)('$name is turned on and off', ({ code, on }) => {
    const net = plugNet();
    net.driver.start();
    expect(command(net.driver, 2, RX, code, Uint8Array.of(1))).toBe(OK);
    expect(reach(net)).toEqual(on);
    expect(command(net.driver, 2, RX, code, Uint8Array.of(0))).toBe(OK);
    expect(reach(net)).toEqual(['own', 'broadcast']);
  });

  it.each(modes)('$name is refused without its feature, and with data that is none', ({ code }) => {
    const { driver } = plugNet();
    driver.start({ features: ~(code <= 1 ? NF.CTRL_RX : NF.CTRL_RX_EXTRA) });
    expect(command(driver, 2, RX, code, Uint8Array.of(1))).toBe(ERR);
    driver.start();
    expect(command(driver, 2, RX, code)).toBe(ERR);
    expect(command(driver, 2, RX, code, Uint8Array.of(1, 1))).toBe(ERR);
  });

  it('a driver without CTRL_RX gets all frames', () => {
    const net = plugNet();
    net.driver.start({ features: ~(NF.CTRL_RX | NF.CTRL_RX_EXTRA) });
    expect(reach(net)).toEqual(['own', 'other', 'broadcast', 'multicast']);
  });
});

describe('§5.1.6.5.2.1 Device Requirements: Setting MAC Address Filtering', () => {
  const MAC = 1;

  it('frames for other addresses than those of the table are dropped', () => {
    const net = plugNet();
    net.driver.start();
    expect(reach(net)).toEqual(['own', 'broadcast']);
    expect(command(net.driver, 2, MAC, 0, join(macList(OTHER_MAC), macList(MULTICAST)))).toBe(OK);
    expect(reach(net)).toEqual(['own', 'other', 'broadcast', 'multicast']);
    expect(command(net.driver, 2, MAC, 0, join(macList(), macList(MULTICAST)))).toBe(OK);
    expect(reach(net)).toEqual(['own', 'broadcast', 'multicast']);
    expect(net.device.stats.filtered).toBe(3);
  });

  it('the table is empty after a reset', () => {
    const net = plugNet();
    net.driver.start();
    command(net.driver, 2, MAC, 0, join(macList(OTHER_MAC), macList(MULTICAST)));
    net.driver.start();
    expect(reach(net)).toEqual(['own', 'broadcast']);
  });

  it('a table that does not fit lets in all addresses of its kind', () => {
    const net = plugNet();
    net.driver.start();
    const many = macList(
      ...Array.from({ length: 1025 }, (_, n) => Uint8Array.of(2, 9, 9, 9, n >> 8, n & 255)),
    );
    expect(command(net.driver, 2, MAC, 0, join(many, macList()))).toBe(OK);
    expect(reach(net)).toEqual(['own', 'other', 'broadcast']);
  });

  it.each([
    ['a count beyond its data', Uint8Array.of(2, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0)],
    ['a count of 2^32 - 1', Uint8Array.of(255, 255, 255, 255, 0, 0, 0, 0)],
    ['no second list', macList(OTHER_MAC)],
    ['bytes behind its lists', join(macList(), macList(), Uint8Array.of(0))],
    ['no data', new Uint8Array()],
  ])('a table with %s is refused', (_what, data) => {
    const net = plugNet();
    net.driver.start();
    expect(command(net.driver, 2, MAC, 0, data)).toBe(ERR);
    expect(reach(net)).toEqual(['own', 'broadcast']);
  });

  it('the address in the configuration is changed before the command is used', () => {
    const net = plugNet();
    net.driver.start();
    expect(command(net.driver, 2, MAC, 1, OTHER_MAC)).toBe(OK);
    expect(Array.from({ length: 6 }, (_, at) => net.driver.config(at, 1))).toEqual([...OTHER_MAC]);
    expect(reach(net)).toEqual(['other', 'broadcast']);
  });

  it.each([
    ['of a group', MULTICAST],
    ['of zeroes', new Uint8Array(6)],
    ['of five bytes', GUEST_MAC.subarray(0, 5)],
  ])('an address %s is refused', (_what, address) => {
    const { driver } = plugNet();
    driver.start();
    expect(command(driver, 2, MAC, 1, address)).toBe(ERR);
    expect(driver.config(0, 1)).toBe(2);
  });
});

describe('§5.1.6.5.4.2 Device Requirements: Gratuitous Packet Sending', () => {
  it('ANNOUNCE is cleared before the command is used', () => {
    const { driver, device } = plugNet();
    driver.start();
    device.announce();
    expect([driver.config(NET_CONFIG.status, 2), driver.handleInterrupt()]).toEqual([3, 2]);
    expect(command(driver, 2, 3, 0)).toBe(OK);
    expect(driver.config(NET_CONFIG.status, 2)).toBe(1);
  });

  it('a driver that did not negotiate it is not asked', () => {
    const { driver, device } = plugNet();
    driver.start({ features: ~NF.GUEST_ANNOUNCE });
    device.announce();
    expect(driver.config(NET_CONFIG.status, 2)).toBe(1);
    expect(command(driver, 2, 3, 0)).toBe(ERR);
  });
});

describe('§5.1.6.5.6.2 Device Requirements: Automatic receive steering in multiqueue mode', () => {
  const MQ = 4;
  const plugged = () => {
    const net = plugNet({ network: new TestVnet({ pairs: 4 }) });
    net.driver.start();
    return { ...net, control: 8 };
  };

  it('frames come in the first queue only, until the driver asks for more', () => {
    const { driver, network, control } = plugged();
    driver.queue(2).post([2000]);
    network.deliver(whole(ethernet(60)), 1);
    expect([network.active, driver.queue(2).usedIdx]).toEqual([1, 0]);
    expect(command(driver, control, MQ, 0, le16(2))).toBe(OK);
    network.deliver(whole(ethernet(60)), 1);
    expect([network.active, driver.queue(2).usedIdx]).toEqual([2, 1]);
  });

  it('no frames come in queues beyond the number once the command is used', () => {
    const { driver, network, control } = plugged();
    expect(command(driver, control, MQ, 0, le16(4))).toBe(OK);
    driver.queue(6).post([2000]);
    expect(command(driver, control, MQ, 0, le16(3))).toBe(OK);
    network.deliver(whole(ethernet(60)), 3);
    expect([network.active, driver.queue(6).usedIdx]).toEqual([3, 0]);
  });

  it('nothing is read from transmit queues beyond the number', async () => {
    const { driver, network, control } = plugged();
    driver.queue(3).post([whole(ethernet(60))]);
    expect(network.sent[1]).toEqual([]);
    expect(command(driver, control, MQ, 0, le16(2))).toBe(OK);
    await driver.queue(3).take(1);
    expect(network.sent[1]).toHaveLength(1);
  });

  it.each([0, 5, 0x8000])('%i pairs are refused', (pairs) => {
    const { driver, network, control } = plugged();
    expect(command(driver, control, MQ, 0, le16(pairs))).toBe(ERR);
    expect(network.active).toBe(1);
  });

  it('the control queue is the third for a driver that does not know of pairs', () => {
    const { driver, network } = plugNet({ network: new TestVnet({ pairs: 4 }) });
    driver.start({ features: ~NF.MQ });
    expect(command(driver, 2, 0, 0, Uint8Array.of(1))).toBe(OK);
    expect(command(driver, 2, MQ, 0, le16(1))).toBe(ERR);
    expect(network.active).toBe(1);
  });
});

describe('offloads the driver changes while it runs (virtio 1.2 §5.1.6.5.8)', () => {
  it('are a part of those negotiated', () => {
    const network = new TestVnet({ offloads: OFFLOADS });
    const { driver } = plugNet({ network });
    driver.start({ features: ~NF.GUEST_TSO6 });
    expect(network.guestOffloads).toBe(NF.GUEST_CSUM | NF.GUEST_TSO4);
    expect(command(driver, 2, 5, 0, le64(NF.GUEST_CSUM))).toBe(OK);
    expect(network.guestOffloads).toBe(NF.GUEST_CSUM);
    expect(command(driver, 2, 5, 0, le64(NF.GUEST_TSO6))).toBe(ERR);
    expect(network.guestOffloads).toBe(NF.GUEST_CSUM);
  });
});

describe('the features of a device (virtio 1.2 §5.1.3)', () => {
  const bit = (number: number): bigint => 1n << BigInt(number);
  /** ECN, UFO and USO, both ways, beside what OFFLOADS has. */
  const CUTTING = OFFLOADS | [9, 10, 13, 14, 54, 55, 56].reduce((all, number) => all | bit(number), 0n);
  const ECN = bit(9) | bit(13);
  const FRAMES = OFFLOADS | ECN;
  /** CTRL_VLAN, HASH_REPORT, GUEST_HDRLEN, RSS, RSC_EXT, STANDBY, SPEED_DUPLEX. */
  const NEVER = [19, 57, 59, 60, 61, 62, 63].reduce((all, number) => all | bit(number), 0n);
  const frames = (offloads: boolean) => new FrameLink(Object.assign(new TestNetwork(), { offloads }));

  it.each([
    ['everything', new TestVnet({ offloads: CUTTING }), CUTTING],
    ['checksums', new TestVnet({ offloads: NF.CSUM | NF.GUEST_CSUM }), NF.CSUM | NF.GUEST_CSUM],
    ['nothing', new TestVnet(), 0n],
    ['frames with their work left undone', frames(true), FRAMES],
    ['frames', frames(false), 0n],
  ])('are those of its back end, which can do: %s', (_, backend, offered) => {
    const { driver } = plug(new NetDevice('net0', { backend, mac: GUEST_MAC }));
    expect([driver.offered & CUTTING, driver.offered & NEVER]).toEqual([offered, 0n]);
  });

  it('do not stand without those they need (§5.1.3.1)', async () => {
    const { driver } = plugNet({ network: new TestVnet({ offloads: CUTTING }) });
    for (const without of [NF.CSUM, NF.GUEST_CSUM, NF.CTRL_VQ]) {
      expect(() => driver.start({ features: ~without })).toThrow();
    }
  });
});
