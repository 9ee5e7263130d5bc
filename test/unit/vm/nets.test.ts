/** Network cards of a configuration: what they become, and what is refused. */
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { Hub } from '../../../src/backends/hub.js';
import type { ConfigError } from '../../../src/base/errors.js';
import { parseConfig, type VmConfig } from '../../../src/config/schema.js';
import { formatMac } from '../../../src/devices/net/mac.js';
import { GuestNet } from '../../../src/vm/guest-net.js';
import { openNets } from '../../../src/vm/nets.js';
import { ethernet, GUEST_MAC, NET_CONFIG, OTHER_MAC, whole } from '../../support/net-driver.js';
import { readPcapng } from '../../support/pcapng.js';
import { plug } from '../../support/plug.js';
import { scratch } from '../../support/scratch.js';
import { TestNetwork } from '../../support/test-vnet.js';

const folder = scratch();
afterAll(() => folder[Symbol.dispose]());

const parse = (net: VmConfig['net'], pcap?: string) =>
  parseConfig({ kernel: 'none', ...(net !== undefined && { net }), ...(pcap !== undefined && { pcap }) });
const open = (net: VmConfig['net'], pcap?: string, notices: unknown[] = []) =>
  openNets(parse(net, pcap), (device, error) => notices.push([device, error]));

describe('the network cards of a configuration', () => {
  it('may be one object, one card, or a list, and none by default', () => {
    const network = new TestNetwork();
    expect(parse(undefined).net).toEqual([]);
    expect(parse(false).net).toEqual([]);
    expect(parse(network).net).toEqual([{ backend: network }]);
    expect(parse({ backend: network, mtu: 1400 }).net).toEqual([{ backend: network, mtu: 1400 }]);
    expect(parse([network, { stream: 's' }, { tap: 't' }, { tap: { fd: 5 } }]).net).toEqual([
      { backend: network },
      { stream: { path: 's', listen: false } },
      { tap: { name: 't' } },
      { tap: { fd: [5] } },
    ]);
  });

  it.each([
    ['no network', [{}], 'net.0', 'must name one network'],
    ['two networks', [{ stream: 'a', backend: new TestNetwork() }], 'net.0', 'must name one network'],
    ['something else', [7], 'net.0', 'must be an object'],
    ['an object that is no network', [{ backend: {} }], 'net.0.backend', 'expected a network'],
    ['a name used twice', [{ stream: 'a' }, { stream: 'b', id: 'net0' }], 'net.1.id', 'is taken'],
    ['a name with blanks', [{ stream: 'a', id: 'a b' }], 'net.0.id', 'A-Z'],
    ['an address of a group', [{ stream: 'a', mac: '01:00:00:00:00:00' }], 'net.0.mac', 'address of a card'],
    ['an MTU of 1.5', [{ stream: 'a', mtu: 1.5 }], 'net.0.mtu', 'whole number'],
    ['a tap without a name', [{ tap: {} }], 'net.0.tap', 'must have a name'],
    ['queues for descriptors', [{ tap: { fd: [3], queues: 2 } }], 'net.0.tap', 'as many queues'],
    [
      'a bucket of nothing',
      [{ stream: 'a', rateLimit: { rx: { ops: { size: 0, refillMs: 1 } } } }],
      'net.0.rateLimit.rx.ops.size',
      'at least 1',
    ],
  ])('may not have %s', (_what, net, path, says) => {
    try {
      parse(net as VmConfig['net']);
      expect.unreachable();
    } catch (error) {
      expect((error as ConfigError).issues).toMatchObject([{ path, message: expect.stringContaining(says) }]);
    }
  });

  it('have the address and MTU of their option, else of their network, else an address made up', async () => {
    const network = new TestNetwork('02:00:00:00:00:02');
    Object.assign(network, { mtu: 1400 });
    const devices = await open([
      { backend: new TestNetwork('02:00:00:00:00:05'), mac: '02:00:00:00:00:01', mtu: 9000 },
      network,
      new TestNetwork(),
    ]);
    expect(devices.map(({ name }) => name)).toEqual(['net0', 'net1', 'net2']);
    expect(devices.slice(0, 2).map(({ mac }) => mac)).toEqual([GUEST_MAC, OTHER_MAC]);
    expect(devices[2]!.mac[0]! & 3).toBe(2);
    const mtus = devices.map((device) => plug(device).driver.start().config(NET_CONFIG.mtu, 2));
    expect(mtus).toEqual([9000, 1400, 0]);
  });

  it.each([
    ['the same address', ['02:00:00:00:00:07', '02:00:00:00:00:07'], 'net.1.mac', "another card's"],
    ['an address that is none', ['hello'], 'net.0.backend.mac', '"hello" is not the address'],
  ])('may not have networks with %s; all are closed then', async (_what, macs, path, says) => {
    const networks = macs.map((mac) => new TestNetwork(mac));
    await expect(open(networks)).rejects.toMatchObject({
      issues: [{ path, message: expect.stringContaining(says) }],
    });
    expect(networks.map(({ closed }) => closed)).toEqual(networks.map(() => 1));
  });

  it('may be ports of a hub: what one sends, the other receives', async () => {
    const hub = new Hub();
    const devices = await open([hub.port(), hub.port()]);
    const [one, other] = devices.map((device) => plug(device));
    one!.driver.start();
    other!.driver.start();
    other!.driver.queue(0).post([2000]);
    const frame = ethernet(60, { to: devices[1]!.mac, from: devices[0]!.mac });
    one!.driver.queue(1).post([whole(frame)]);
    const [used] = other!.driver.queue(0).collect();
    expect(used!.posted!.written().subarray(12, used!.length)).toEqual(frame);
    expect(hub.stats.forwarded).toBe(1);
  });

  it('are written down in one capture file, each by its name and both ways', async () => {
    const path = folder.path('frames.pcapng');
    const [first, second] = [new TestNetwork(), new TestNetwork()];
    const devices = await open([{ backend: first, id: 'inside', mac: formatMac(GUEST_MAC) }, second], path);
    const plugged = devices.map((device) => plug(device));
    for (const { driver } of plugged) driver.start();
    const before = Date.now();
    plugged[0]!.driver.queue(1).post([whole(ethernet(61))]);
    plugged[0]!.driver.queue(0).post([2000]);
    first.receive(ethernet(1514));
    plugged[1]!.driver.queue(1).post([whole(ethernet(64))]);
    // Neither sent nor received: not there.
    second.full = true;
    plugged[1]!.driver.queue(1).post([whole(ethernet(99))]);
    for (const { transport } of plugged) await transport.close();
    const { interfaces, packets } = readPcapng(readFileSync(path));
    expect(interfaces).toEqual(['inside', 'net1']);
    expect(packets).toMatchObject([
      { card: 0, direction: 'sent', frame: ethernet(61) },
      { card: 0, direction: 'received', frame: ethernet(1514) },
      { card: 1, direction: 'sent', frame: ethernet(64) },
    ]);
    for (const { time } of packets) expect(Math.abs(time - before)).toBeLessThan(60_000);
  });

  it('may not be captured where no file can be', async () => {
    const network = new TestNetwork();
    await expect(open(network, folder.folder)).rejects.toMatchObject({ code: 'ERR_FILE' });
    await expect(open(network, folder.path('a/b'))).rejects.toThrow('no such folder');
  });
});

describe('a card of a running machine', () => {
  it('has an address, counters, a cable and limits', async () => {
    const network = new TestNetwork('02:00:00:00:00:01');
    const [device] = await open(network);
    const card = new GuestNet('net0', device!);
    const { driver } = plug(device!);
    driver.start();
    expect([card.mac, card.linkUp]).toEqual(['02:00:00:00:00:01', true]);
    driver.queue(1).post([whole(ethernet(60))]);
    expect(card.stats.sent).toBe(1);
    card.setLink(false);
    expect([card.linkUp, driver.config(NET_CONFIG.status, 2)]).toEqual([false, 0]);
    card.setLink(true);
    card.announce();
    expect(driver.config(NET_CONFIG.status, 2)).toBe(3);
    card.limit({ tx: { ops: { size: 1, refillMs: 60_000 } } });
    for (let count = 0; count < 5; count += 1) driver.queue(1).post([whole(ethernet(60))]);
    expect(network.sent.length).toBe(3);
    card.limit();
    expect(network.sent.length).toBe(6);
    driver.reset();
  });
});
