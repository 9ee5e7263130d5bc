/** The network device as its driver and its back end see it, beyond what the specification says. */
import { describe, expect, it, vi } from 'vitest';
import { NetDevice } from '../../../../src/devices/net/device.js';
import { FrameLink } from '../../../../src/devices/net/frame-link.js';
import {
  command,
  ethernet,
  GUEST_MAC,
  HDR,
  join,
  le16,
  NF,
  netHeader,
  plugNet,
  whole,
} from '../../../support/net-driver.js';
import { plug, turn } from '../../../support/plug.js';
import { TestNetwork, TestVnet } from '../../../support/test-vnet.js';

const framed = (network = new TestNetwork()) => ({
  network,
  ...plug(new NetDevice('net0', { backend: new FrameLink(network), mac: GUEST_MAC })),
});

describe('sending', () => {
  it('hands frames on with their headers, in order, and counts them', () => {
    const { driver, network, device } = plugNet();
    driver.start();
    for (const length of [14, 60, 1514]) driver.queue(1).post([whole(ethernet(length))]);
    expect(network.sent[0]!.map(({ length }) => length - HDR)).toEqual([14, 60, 1514]);
    expect(driver.queue(1).collect()).toHaveLength(3);
    expect(device.stats).toMatchObject({ sent: 3, sentBytes: 14 + 60 + 1514, malformed: 0 });
  });

  it('does not mind how a frame is cut, not even within its header', () => {
    const { driver, network } = framed();
    driver.start();
    const frame = ethernet(100);
    const all = whole(frame);
    driver.queue(1).post([all.subarray(0, 5), all.subarray(5, 13), all.subarray(13, 30), all.subarray(30)]);
    driver.queue(1).post([all.subarray(0, 12), all.subarray(12)], { indirect: true });
    expect(network.sent).toEqual([frame, frame]);
  });

  it.each([
    ['nothing but a header', [netHeader()]],
    ['less than an Ethernet header', [whole(ethernet(13))]],
    ['less than a header', [new Uint8Array(11)]],
    ['more than 64 KiB', [whole(new Uint8Array(65554))]],
    ['a buffer to write to', [whole(ethernet(60)), 16]],
  ])('drops and counts %s; the link lives', (_what, pieces) => {
    const { driver, network, device, faults } = plugNet();
    driver.start();
    driver.queue(1).post(pieces);
    driver.queue(1).post([whole(ethernet(60))]);
    expect(
      driver
        .queue(1)
        .collect()
        .map(({ length }) => length),
    ).toEqual([0, 0]);
    expect([network.sent[0]!.length, device.stats.malformed, faults]).toEqual([1, 1, []]);
  });

  it('waits while the back end is full, and keeps the order', () => {
    const { driver, network } = plugNet();
    driver.start();
    network.full = true;
    driver.queue(1).post([whole(ethernet(60))]);
    driver.queue(1).post([whole(ethernet(61))]);
    expect([network.sent[0], driver.queue(1).collect()]).toEqual([[], []]);
    network.full = false;
    network.guest!.writable(0);
    expect(network.sent[0]!.map(({ length }) => length - HDR)).toEqual([60, 61]);
    expect(driver.queue(1).collect()).toHaveLength(2);
  });

  it('drops a frame that the host cannot send, says so, and goes on', () => {
    const { driver, network, device, hostErrors } = plugNet();
    driver.start();
    network.failure = new Error('ENETDOWN');
    driver.queue(1).post([whole(ethernet(60))]);
    driver.queue(1).post([whole(ethernet(61))]);
    expect(network.sent[0]).toHaveLength(1);
    expect(device.stats).toMatchObject({ sent: 1, sendDropped: 1 });
    expect(hostErrors).toMatchObject([{ message: 'ENETDOWN' }]);
  });

  it('gives the event loop its turn under a flood', async () => {
    const { driver, network } = plugNet();
    driver.start();
    for (let count = 0; count < 200; count += 1) driver.queue(1).add([whole(ethernet(60))]);
    driver.queue(1).kick();
    expect(network.sent[0]).toHaveLength(64);
    await driver.queue(1).take(200);
    expect(network.sent[0]).toHaveLength(200);
  });

  it('keeps to its limit and loses nothing', async () => {
    vi.useFakeTimers();
    try {
      const tx = { bandwidth: { size: 1000, refillMs: 1000 } };
      const { driver, network } = plugNet({ tx });
      driver.start();
      for (let count = 0; count < 4; count += 1) driver.queue(1).post([whole(ethernet(1000))]);
      // The first goes at once, and so does the second: the first is paid for by the bucket.
      expect(network.sent[0]).toHaveLength(2);
      await vi.advanceTimersByTimeAsync(900);
      expect(network.sent[0]).toHaveLength(2);
      await vi.advanceTimersByTimeAsync(200);
      expect(network.sent[0]).toHaveLength(3);
      await vi.advanceTimersByTimeAsync(1100);
      expect(network.sent[0]).toHaveLength(4);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('receiving', () => {
  it('takes frames that waited for the driver, once it has buffers', () => {
    const { driver, network, device } = plugNet();
    network.waiting[0]!.push(whole(ethernet(60)), whole(ethernet(61)));
    driver.start();
    driver.queue(0).post([2000]);
    driver.queue(0).post([2000]);
    expect(
      driver
        .queue(0)
        .collect()
        .map(({ length }) => length - HDR),
    ).toEqual([60, 61]);
    expect(device.stats).toMatchObject({ received: 2, receivedBytes: 121 });
  });

  it('interrupts once for frames that come together', () => {
    const { driver, network, irq } = plugNet();
    driver.start();
    for (let count = 0; count < 8; count += 1) driver.queue(0).add([2000]);
    network.waiting[0]!.push(...Array.from({ length: 8 }, () => whole(ethernet(60))));
    irq.take();
    network.guest!.readable(0);
    expect([driver.queue(0).collect().length, irq.take()]).toEqual([8, 1]);
  });

  it('shows the driver the first frame before it looks for a second', () => {
    const seen: number[] = [];
    const network = new (class extends TestVnet {
      override receive(pair: number, into: readonly Uint8Array[]): number {
        seen.push(taken());
        return super.receive(pair, into);
      }
    })();
    const { driver } = plugNet({ network });
    let all = 0;
    const taken = (): number => {
      all += driver.queue(0).collect().length;
      return all;
    };
    driver.start();
    for (let count = 0; count < 4; count += 1) driver.queue(0).add([2000]);
    driver.queue(0).kick();
    network.waiting[0]!.push(whole(ethernet(60)), whole(ethernet(61)));
    seen.length = 0;
    network.guest!.readable(0);
    expect([...seen, taken()]).toEqual([0, 1, 1, 2]);
  });

  it('holds chains that a frame did not need for the next', () => {
    const { driver, network } = plugNet();
    driver.start();
    for (let count = 0; count < 8; count += 1) driver.queue(0).post([300]);
    for (let count = 0; count < 4; count += 1) network.deliver(whole(ethernet(500 + count)));
    const used = driver.queue(0).collect();
    expect(used.map(({ length }) => length)).toEqual([300, 212, 300, 213, 300, 214, 300, 215]);
  });

  it.each([
    ['too small for a header', [11]],
    ['with a part to read', [Uint8Array.of(1), 2000]],
  ])('gives a buffer %s back, counts it, and goes on', (_what, pieces) => {
    const { driver, network, device, faults } = plugNet();
    driver.start();
    driver.queue(0).post(pieces);
    driver.queue(0).post([2000]);
    network.deliver(whole(ethernet(60)));
    expect(
      driver
        .queue(0)
        .collect()
        .map(({ length }) => length),
    ).toEqual([0, HDR + 60]);
    expect([device.stats.malformed, faults]).toEqual([1, []]);
  });

  it('drops a frame for which all buffers of a queue are too little', () => {
    const { driver, network, device } = plugNet();
    driver.start({ queueSize: 4 });
    for (let count = 0; count < 4; count += 1) driver.queue(0).post([100]);
    network.deliver(whole(ethernet(1000)));
    network.deliver(whole(ethernet(60)));
    expect(
      driver
        .queue(0)
        .collect()
        .map(({ length }) => length),
    ).toEqual([HDR + 60]);
    expect(device.stats.receiveDropped).toBe(1);
  });

  it('gives the event loop its turn under a flood', async () => {
    const { driver, network } = plugNet();
    driver.start();
    for (let count = 0; count < 100; count += 1) driver.queue(0).add([2000]);
    network.waiting[0]!.push(...Array.from({ length: 100 }, () => whole(ethernet(60))));
    network.guest!.readable(0);
    expect(driver.queue(0).usedIdx).toBe(64);
    await driver.queue(0).take(100);
  });

  it('keeps to its limit', async () => {
    vi.useFakeTimers();
    try {
      const { driver, network } = plugNet({ rx: { ops: { size: 1, refillMs: 100 } } });
      driver.start();
      for (let count = 0; count < 4; count += 1) driver.queue(0).add([2000]);
      network.waiting[0]!.push(...Array.from({ length: 4 }, () => whole(ethernet(60))));
      network.guest!.readable(0);
      expect(driver.queue(0).usedIdx).toBe(2);
      await vi.advanceTimersByTimeAsync(101);
      expect(driver.queue(0).usedIdx).toBe(3);
      await vi.advanceTimersByTimeAsync(101);
      expect(driver.queue(0).usedIdx).toBe(4);
    } finally {
      vi.useRealTimers();
    }
  });

  it('goes on after a back end that failed', () => {
    const { driver, network, hostErrors } = plugNet();
    driver.start();
    driver.queue(0).post([2000]);
    network.failure = new Error('EIO');
    network.deliver(whole(ethernet(60)));
    expect(driver.queue(0).usedIdx).toBe(0);
    network.guest!.readable(0);
    expect([driver.queue(0).usedIdx, hostErrors.length]).toEqual([1, 1]);
  });
});

describe('a cable that is out', () => {
  it('drops and counts frames both ways, until it is in again', () => {
    const { driver, network, device } = plugNet();
    driver.start();
    driver.queue(0).post([2000]);
    device.setLink(false);
    network.deliver(whole(ethernet(60)));
    driver.queue(1).post([whole(ethernet(60))]);
    expect([driver.queue(0).usedIdx, network.sent[0]!.length]).toEqual([0, 0]);
    expect(device.stats).toMatchObject({ receiveDropped: 1, sendDropped: 1 });
    device.setLink(true);
    network.deliver(whole(ethernet(60)));
    driver.queue(1).post([whole(ethernet(60))]);
    expect([driver.queue(0).usedIdx, network.sent[0]!.length]).toEqual([1, 1]);
  });
});

describe('a driver that', () => {
  it.each([
    ['CTRL_RX', NF.CTRL_RX],
    ['GUEST_ANNOUNCE', NF.GUEST_ANNOUNCE],
  ])('takes %s without the control queue is refused', (_name, feature) => {
    const { driver } = plugNet();
    expect(() => driver.start({ features: feature })).toThrow('features refused');
  });

  it('takes GUEST_TSO4 without GUEST_CSUM is refused', () => {
    const offloads = NF.GUEST_CSUM | NF.GUEST_TSO4;
    const { driver } = plugNet({ network: new TestVnet({ offloads }) });
    expect(() => driver.start({ features: NF.GUEST_TSO4 })).toThrow('features refused');
  });

  it('changed its address has the old one after a reset', () => {
    const { driver, device } = plugNet();
    driver.start();
    command(driver, 2, 1, 1, Uint8Array.of(2, 9, 9, 9, 9, 9));
    expect(device.mac[1]).toBe(9);
    driver.start();
    expect(device.mac).toEqual(GUEST_MAC);
  });

  it.each([
    ['no command', [Uint8Array.of(0), 1]],
    ['no room for an answer', [Uint8Array.of(0, 0, 1)]],
  ])('sends %s gets it back, and the next is served', (_what, pieces) => {
    const { driver, device, faults } = plugNet();
    driver.start();
    driver.queue(2).post(pieces);
    expect(driver.queue(2).collect()).toMatchObject([{ length: 0 }]);
    expect(command(driver, 2, 0, 0, Uint8Array.of(1))).toBe(0);
    expect([device.stats.malformed, faults]).toEqual([1, []]);
  });

  it('sends a command of 20 MB, or one that nobody knows, is told that it failed', () => {
    const { driver, ram } = plugNet();
    driver.start();
    const at = ram.alloc(0x10000);
    const large = Array.from({ length: 20 }, () => ({ at, length: 0x10000 }));
    driver.queue(2).post([Uint8Array.of(1, 0), ...large, 1]);
    expect(driver.queue(2).collect()[0]!.posted!.written()).toEqual(Uint8Array.of(1));
    expect(command(driver, 2, 77, 0)).toBe(1);
  });

  it('leaves the queues of a pair out has no more than the others', () => {
    const { driver, network } = plugNet({ network: new TestVnet({ pairs: 2 }) });
    driver.start({ queues: [0, 1, 4] });
    expect(command(driver, 4, 4, 0, le16(2))).toBe(0);
    network.deliver(whole(ethernet(60)), 1);
    expect(network.waiting[1]).toHaveLength(1);
  });

  it('resets the device ends its frames, and the back end knows', () => {
    const { driver, network, device } = plugNet();
    driver.start();
    driver.queue(0).post([2000]);
    void driver.reset();
    expect(network.active).toBe(0);
    network.deliver(whole(ethernet(60)));
    driver.start();
    driver.queue(0).post([2000]);
    expect([driver.queue(0).collect().length, device.stats.received]).toEqual([1, 1]);
  });
});

describe('a network of plain frames', () => {
  it('is told false while the guest has no driver or no room, and hears of room', () => {
    const { driver, network } = framed();
    expect(network.receive(ethernet(60))).toBe(false);
    driver.start();
    expect(network.receive(ethernet(60))).toBe(false);
    network.waiting.push(ethernet(60), ethernet(61), ethernet(62));
    driver.queue(0).post([2000]);
    expect([network.rooms, network.waiting.length]).toEqual([1, 2]);
    driver.queue(0).add([2000]);
    driver.queue(0).add([2000]);
    driver.queue(0).kick();
    expect(network.waiting).toEqual([]);
    expect(
      driver
        .queue(0)
        .collect()
        .map(({ length }) => length - HDR),
    ).toEqual([60, 61, 62]);
  });

  it('may use its buffer again when `receive` has returned', () => {
    const { driver, network } = framed();
    driver.start();
    network.receive(ethernet(60));
    const shared = ethernet(60);
    network.room = () => {
      network.receive(shared);
      shared.fill(0);
    };
    const { written } = driver.queue(0).post([2000]);
    expect(written().subarray(HDR, HDR + 60)).toEqual(ethernet(60));
  });

  it('may keep and change the frames it is sent', () => {
    const { driver, network } = framed();
    driver.start();
    const posted = driver.queue(1).post([whole(ethernet(60))]);
    network.sent[0]!.fill(0xee);
    expect(driver.ram.at(posted.pieces[0]!.at + HDR, 60)).toEqual(ethernet(60));
  });

  it('may say that it is full, and later that it is not', () => {
    const { driver, network } = framed();
    driver.start();
    network.full = true;
    driver.queue(1).post([whole(ethernet(60))]);
    network.full = false;
    expect(driver.queue(1).collect()).toEqual([]);
    network.drained();
    expect([driver.queue(1).collect().length, network.sent.length]).toEqual([1, 1]);
  });

  it('may answer within `send`', () => {
    const { driver, network } = framed();
    const send = network.send.bind(network);
    network.send = (frame) => send(frame) && network.receive(frame);
    driver.start();
    driver.queue(0).post([2000]);
    driver.queue(1).post([whole(ethernet(60))]);
    expect(driver.queue(0).collect()).toMatchObject([{ length: HDR + 60 }]);
  });

  it.each([0, 13, 65554])('is told of a mistake: a frame of %i bytes', (length) => {
    const { driver, network } = framed();
    driver.start();
    driver.queue(0).post([2000]);
    expect(() => network.receive(new Uint8Array(length))).toThrow(RangeError);
    expect(driver.queue(0).usedIdx).toBe(0);
  });

  it('is closed with the machine', async () => {
    const { driver, network, transport } = framed();
    driver.start();
    driver.queue(0).post([2000]);
    await transport.close();
    await turn();
    expect([network.closed, network.receive(ethernet(60))]).toEqual([1, false]);
  });

  it('does not get frames that are incomplete', () => {
    const { driver, network, device } = framed();
    driver.start();
    driver.queue(1).post([join(netHeader(1, 0, 0, 0, 34, 16), ethernet(60))]);
    expect([network.sent, device.stats.malformed]).toEqual([[], 1]);
  });
});
