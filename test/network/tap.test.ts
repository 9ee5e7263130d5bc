/**
 * Tap interfaces, in a network namespace of this process's own: the contract of all networks across a bridge, what the kernel does for
 * a card, several queues, and everything that can be wrong, with the commands that the error names.
 */
import { closeSync, openSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TapNetwork } from '../../src/backends/tap-network.js';
import { TapQueue } from '../../src/host/tap-queue.js';
import { TestCard } from '../support/net-card.js';
import { describeNetwork } from '../support/net-contract.js';
import {
  command,
  ethernet,
  GUEST_MAC,
  le16,
  NF,
  netHeader,
  OTHER_MAC,
  whole,
} from '../support/net-driver.js';
import { enterNetworkNamespace, ip, runWithoutNetAdmin } from '../support/network-namespace.js';
import { turn } from '../support/plug.js';
import { Random } from '../support/random.js';
import { readTcp, tcpFrame } from '../support/tcp-frame.js';

const can = enterNetworkNamespace();
const random = Random.fromEnvironment(5);

/** Two interfaces on a bridge that neither learns nor sends frames of its own. */
function bridge(...names: readonly string[]): void {
  ip('link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '0');
  for (const name of names) ip('link', 'set', name, 'addrgenmode', 'none', 'master', 'br0', 'up');
  ip('link', 'set', 'br0', 'addrgenmode', 'none', 'up');
}

async function until(ready: () => boolean, limitMs = 5000): Promise<void> {
  for (const end = performance.now() + limitMs; !ready(); await turn()) {
    if (performance.now() > end) throw new Error('it does not happen');
  }
}

describe.skipIf(!can)('a tap interface', () => {
  describeNetwork(
    'across a bridge',
    {
      async make() {
        const pair = [TapNetwork.open('tap0'), TapNetwork.open('tap1')] as const;
        bridge('tap0', 'tap1');
        // A bridge hands frames on as soon as its ports do.
        await until(() => /state forwarding/.test(ip('-d', 'link', 'show', 'tap1')));
        return pair;
      },
      cleanUp: () => void ip('link', 'delete', 'br0'),
    },
    // Without offloads in the header nothing larger than the interfaces' MTU goes through.
    { longest: 1514, shortest: 60 },
  );

  describe('with the kernel at its other end', () => {
    let network: TapNetwork;
    let card: TestCard;
    beforeAll(() => {
      network = TapNetwork.open('tap2', { mtu: 9000 });
      ip('addr', 'add', '10.0.0.1/24', 'dev', 'tap2');
      ip('link', 'set', 'tap2', 'addrgenmode', 'none');
      ip('neigh', 'add', '10.0.0.2', 'lladdr', '02:00:00:00:00:01', 'dev', 'tap2');
      card = new TestCard(network, GUEST_MAC, { mtu: network.mtu }).start();
    });
    afterAll(async () => {
      await card.plugged.transport.close();
      expect([card.plugged.faults, card.hostErrors]).toEqual([[], []]);
    });

    it('was made, switched on, and tells its MTU', () => {
      expect(network.mtu).toBe(9000);
      expect(ip('link', 'show', 'tap2')).toMatch(/<[^>]*\bUP\b/);
    });

    it('offers what the kernel can do, and tells it what the driver takes', () => {
      const { driver } = card.plugged;
      const all = NF.CSUM | NF.GUEST_CSUM | NF.GUEST_TSO4 | NF.GUEST_TSO6 | NF.HOST_TSO4 | NF.HOST_TSO6;
      expect(driver.offered & all).toBe(all);
    });

    it("has a ping's answer from the host", async () => {
      const request = icmpEcho(random.bytes(500));
      await card.send(request);
      const [reply] = await card.take(1, (frame) => frame[23] === 1 && frame[34] === 0);
      expect(Buffer.compare(reply!.subarray(42), request.subarray(42))).toBe(0);
    });

    it('drops what the kernel refuses, counts it, and goes on', async () => {
      const before = card.device.stats.malformed;
      await card.send(ethernet(60), netHeader(1, 0, 0, 0, 50, 60));
      await card.send(ethernet(60), netHeader(1, 0x7f, 0, 1, 0, 0));
      expect(card.device.stats.malformed - before).toBe(2);
      const request = icmpEcho(random.bytes(32));
      await card.send(request);
      await card.take(1, (frame) => frame.length === request.length && frame[34] === 0);
    });
  });

  it('cuts and sums up for a card that does not: what one leaves undone, the other gets complete', async () => {
    const sender = new TestCard(TapNetwork.open('tap0'), GUEST_MAC).start();
    const plain = ~(NF.GUEST_CSUM | NF.GUEST_TSO4 | NF.GUEST_TSO6) & ~(0b11n << 9n) & ~(0b11n << 54n);
    const receiver = new TestCard(TapNetwork.open('tap1'), OTHER_MAC).start({ features: plain });
    bridge('tap0', 'tap1');
    await until(() => /state forwarding/.test(ip('-d', 'link', 'show', 'tap1')));
    const data = random.bytes(40_000);
    const { frame, header } = tcpFrame({ data });
    await sender.send(frame, netHeader(1, 1, header.hdrLen, 1448, header.csumStart, header.csumOffset));
    const packets = await receiver.take(28, (one) => one[23] === 6);
    expect(Buffer.concat(packets.map((packet) => readTcp(packet).data))).toEqual(Buffer.from(data));
    await sender.plugged.transport.close();
    await receiver.plugged.transport.close();
    ip('link', 'delete', 'br0');
  });

  it('passes large frames whole between cards that take them', async () => {
    const sender = new TestCard(TapNetwork.open('tap0'), GUEST_MAC).start();
    const receiver = new TestCard(TapNetwork.open('tap1'), OTHER_MAC).start();
    bridge('tap0', 'tap1');
    await until(() => /state forwarding/.test(ip('-d', 'link', 'show', 'tap1')));
    const frames = Array.from({ length: 20 }, (_, index) =>
      tcpFrame({ data: random.bytes(60_000), sequence: index * 60_000 }),
    );
    for (const { frame, header } of frames) {
      await sender.send(frame, netHeader(1, 1, header.hdrLen, 1448, header.csumStart, header.csumOffset));
    }
    const received = await receiver.take(20, (one) => one[23] === 6 && one.length > 50_000);
    expect(
      received.map((frame) => Buffer.from(frame).equals(Buffer.from(frames[received.indexOf(frame)]!.frame))),
    ).toEqual(received.map(() => true));
    await sender.plugged.transport.close();
    await receiver.plugged.transport.close();
    ip('link', 'delete', 'br0');
  });

  it('has one queue for each pair that the driver uses', async () => {
    const network = TapNetwork.open('tap3', { queues: 4 });
    ip('link', 'set', 'tap3', 'addrgenmode', 'none');
    const card = new TestCard(network, GUEST_MAC);
    const { driver, ram } = card.plugged;
    card.start();
    expect(driver.config(8, 2)).toBe(4);
    expect(command(driver, 8, 4, 0, le16(4))).toBe(0);
    for (const pair of [1, 2, 3]) {
      for (let count = 0; count < 32; count += 1)
        driver.queue(2 * pair).add([{ at: ram.alloc(2048), length: 2048, write: true }]);
      driver.queue(2 * pair).kick();
    }
    ip('addr', 'add', '10.0.3.1/24', 'dev', 'tap3');
    ip('neigh', 'add', '10.0.3.2', 'lladdr', '02:00:00:00:00:01', 'dev', 'tap3');
    // The kernel answers a flow in the queue where it last came from: from the second frame on (tun_flow_update in drivers/net/tun.c).
    for (const pair of [2, 1, 3, 2]) {
      driver.queue(2 * pair + 1).post([whole(icmpEcho(random.bytes(64), 3))]);
      await turn();
      const before = driver.queue(2 * pair).usedIdx;
      driver.queue(2 * pair + 1).post([whole(icmpEcho(random.bytes(64), 3))]);
      await until(() => driver.queue(2 * pair).usedIdx > before);
    }
    expect(card.device.stats.sent).toBe(8);
    expect(command(driver, 8, 4, 0, le16(1))).toBe(0);
    await card.plugged.transport.close();
    expect([card.plugged.faults, card.hostErrors]).toEqual([[], []]);
  });

  it('may be handed over as an open descriptor', async () => {
    const first = TapNetwork.open('tap4');
    ip('link', 'set', 'tap4', 'addrgenmode', 'none');
    ip('addr', 'add', '10.0.4.1/24', 'dev', 'tap4');
    ip('neigh', 'add', '10.0.4.2', 'lladdr', '02:00:00:00:00:01', 'dev', 'tap4');
    first.close();
    const queue = TapQueue.attach('tap5', 0);
    // As a parent process would hand it down: adopted by number, and closed by us.
    const network = TapNetwork.adopt([queue.descriptor]);
    expect(network.name).toBe('tap5');
    ip('link', 'set', 'tap5', 'addrgenmode', 'none', 'up');
    const card = new TestCard(network, GUEST_MAC).start();
    await card.send(ethernet(60));
    expect(card.device.stats.sent).toBe(1);
    await card.plugged.transport.close();
    await until(() => !ip('link').includes('tap5'));
  });

  it('keeps a machine going when it is switched off or deleted, says so once, and does not spin', async () => {
    ip('tuntap', 'add', 'tap6', 'mode', 'tap');
    ip('link', 'set', 'tap6', 'addrgenmode', 'none', 'up');
    const card = new TestCard(TapNetwork.open('tap6'), GUEST_MAC).start();
    await card.send(ethernet(60));
    ip('link', 'set', 'tap6', 'down');
    await card.send(ethernet(60));
    await card.send(ethernet(60));
    expect(card.hostErrors).toMatchObject([
      { message: 'tap6: the interface is down or gone', hint: 'ip link set tap6 up' },
    ]);
    ip('link', 'set', 'tap6', 'up');
    await card.send(ethernet(60));
    expect(card.device.stats).toMatchObject({ sent: 2, sendDropped: 2 });
    ip('link', 'delete', 'tap6');
    await card.send(ethernet(60));
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const { user, system } = process.cpuUsage(before);
    expect(user + system).toBeLessThan(100_000);
    await card.plugged.transport.close();
  });

  describe('is refused, with what would help:', () => {
    afterEach(() => {
      try {
        ip('link', 'delete', 'taken');
      } catch {
        // It was not made.
      }
    });
    const opening = (name: string, queues?: number) => (): TapNetwork => TapNetwork.open(name, { queues });

    it('one that is in use', () => {
      const first = TapNetwork.open('taken');
      expect(opening('taken')).toThrow(
        expect.objectContaining({ code: 'ERR_FILE', message: 'taken: is used by another program' }),
      );
      first.close();
    });

    it('one of a single queue, asked for two, and the other way round', () => {
      ip('tuntap', 'add', 'taken', 'mode', 'tap');
      expect(opening('taken', 2)).toThrow(
        expect.objectContaining({
          message: expect.stringContaining('only one queue'),
          hint: expect.stringContaining('multi_queue'),
        }),
      );
      ip('link', 'delete', 'taken');
      ip('tuntap', 'add', 'taken', 'mode', 'tap', 'multi_queue');
      expect(opening('taken')).toThrow('has several queues');
      opening('taken', 3)().close();
    });

    it('an interface of another kind', () => {
      ip('link', 'add', 'taken', 'type', 'bridge');
      expect(opening('taken')).toThrow(/^taken: is no tap interface/);
    });

    it("another user's, and one that this user may not make; the command of the hint puts it right", async () => {
      ip('tuntap', 'add', 'taken', 'mode', 'tap', 'user', '65534');
      const program = (name: string): string => `
        const { TapNetwork } = await import('${new URL('../../src/backends/tap-network.ts', import.meta.url).pathname}');
        try { console.log('opened', TapNetwork.open('${name}').name); }
        catch ({ code, message, hint }) { console.log(code, message, '|', hint); }
        process.exit(0);`;
      expect(await runWithoutNetAdmin(program('taken'))).toContain(
        'ERR_FILE taken: belongs to another user | sudo ip link delete taken && sudo ip tuntap add taken',
      );
      expect(await runWithoutNetAdmin(program('absent'))).toContain(
        'ERR_FILE absent: does not exist, and making it takes rights | sudo ip tuntap add absent mode tap user $(id -un)',
      );
      ip('link', 'delete', 'taken');
      ip('tuntap', 'add', 'taken', 'mode', 'tap', 'user', '0');
      ip('link', 'set', 'taken', 'up');
      expect(await runWithoutNetAdmin(program('taken'))).toContain('opened taken');
    }, 60_000);

    it('a descriptor of something else', () => {
      const file = openSync('/dev/null', 'r');
      expect(() => TapNetwork.adopt([file])).toThrow(/is no descriptor of a tap interface/);
      closeSync(file);
    });

    it.each(['', 'a-name-that-is-too-long', 'x/y'])('the name "%s"', (name) => {
      expect(opening(name)).toThrow();
    });
  });
});

/** From 10.0.`net`.2 to 10.0.`net`.1. */
function icmpEcho(data: Uint8Array, net = 0): Uint8Array {
  const frame = Buffer.alloc(42 + data.length);
  // To whatever address the interface has: as a broadcast it is taken by every one.
  frame.set([255, 255, 255, 255, 255, 255, ...GUEST_MAC, 8, 0]);
  frame.set([0x45, 0, 0, 0, 0, 1, 0, 0, 64, 1, 0, 0, 10, 0, net, 2, 10, 0, net, 1], 14);
  frame.writeUInt16BE(28 + data.length, 16);
  frame.writeUInt16BE(sum(frame.subarray(14, 34)), 24);
  frame[34] = 8;
  frame.set([0, 7, 0, 1], 38);
  frame.set(data, 42);
  frame.writeUInt16BE(sum(frame.subarray(34)), 36);
  return frame;
}

/** RFC 1071. */
function sum(bytes: Buffer): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at += 2) total += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + (total >> 16);
  return ~total & 0xffff;
}
