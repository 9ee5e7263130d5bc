/** The socket device: connections from both sides, credit, half-close, ends of every kind, turns, and how much one turn does. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { REG } from '../../support/fake-driver.js';
import { turn } from '../../support/plug.js';
import {
  bytesOf,
  encodePacket,
  GUEST,
  HOST,
  OP,
  type Packet,
  RecordedEnd,
  RecordingHost,
  textOf,
  VsockDriver,
} from '../../support/vsock-driver.js';

const KiB = 1024;
const RCV = 1;
const SEND = 2;

afterEach(() => {
  vi.useRealTimers();
});

/** A connection that the host asks for. */
function connect(vsock: VsockDriver, port = 5000, timeoutMs = 10_000): RecordedEnd {
  const end = new RecordedEnd();
  const stream = vsock.device.connect(port, end, timeoutMs);
  if (!stream) throw new Error('no connection');
  end.stream = stream;
  return end;
}

const ops = (packets: readonly Packet[]): number[] => packets.map(({ op }) => op);

/** The guest's answer to a packet. */
const reply = ({ srcPort, dstPort }: Packet, op: number) => ({ op, srcPort: dstPort, dstPort: srcPort });

describe('a socket device', () => {
  it('is device 19 with three queues and the CID in its configuration', () => {
    const { driver } = new VsockDriver();
    expect([driver.read(REG.DeviceID), Number(driver.offered & 7n)]).toEqual([19, 1]);
    expect([driver.config(0), driver.config(4)]).toEqual([GUEST, 0]);
    const sizes = [0, 1, 2, 3].map((index) => {
      void driver.write(REG.QueueSel, index);
      return driver.read(REG.QueueNumMax);
    });
    expect(sizes).toEqual([256, 256, 16, 0]);
  });
});

describe('a connection that the guest asks for', () => {
  it('is answered when the host takes it, and carries data both ways', async () => {
    const vsock = new VsockDriver();
    vsock.host.accepts = false;
    vsock.post(10);
    vsock.send({ op: OP.REQUEST, srcPort: 1234, dstPort: 80 });
    expect(await vsock.received()).toEqual([]);
    const [end] = vsock.host.ends;
    expect([end!.stream.guestPort, end!.stream.hostPort]).toEqual([1234, 80]);
    end!.stream.accept();
    const [answer] = await vsock.received();
    expect(answer).toMatchObject({
      ...{ op: OP.RESPONSE, srcPort: 80, dstPort: 1234, type: 1, flags: 0, bufAlloc: 256 * KiB },
      ...{ srcCid: BigInt(HOST), dstCid: BigInt(GUEST) },
    });
    vsock.send({ op: OP.RW, srcPort: 1234, data: bytesOf('hello, host') });
    end!.send('hello, guest');
    const [data] = await vsock.received();
    expect([data!.op, textOf(data!.data), data!.fwdCnt]).toEqual([OP.RW, 'hello, guest', 11]);
    expect([end!.text, end!.said]).toEqual(['hello, host', ['data 11']]);
  });

  it('is refused by RST where nobody listens', async () => {
    const vsock = new VsockDriver();
    vsock.host.refuses = (port) => port === 81;
    vsock.post(4);
    vsock.send({ op: OP.REQUEST, srcPort: 9, dstPort: 81 });
    expect(await vsock.received()).toMatchObject([{ op: OP.RST, srcPort: 81, dstPort: 9 }]);
    expect(vsock.device.stats.connections).toBe(0);
  });

  it('is over when it is asked for again, or when it speaks before it is taken', async () => {
    const vsock = new VsockDriver();
    const end = await vsock.open();
    vsock.post(4);
    vsock.send({ op: OP.REQUEST });
    expect(ops(await vsock.received())).toEqual([OP.RST]);
    expect(end.said).toEqual(['closed reset']);
    vsock.host.accepts = false;
    vsock.send({ op: OP.REQUEST });
    vsock.send({ op: OP.RW, data: bytesOf('early') });
    expect(ops(await vsock.received())).toEqual([OP.RST]);
    expect(vsock.host.ends.at(-1)!.said).toEqual(['closed reset']);
    vsock.host.ends.at(-1)!.stream.accept();
    expect(await vsock.received()).toEqual([]);
  });

  it('is refused beyond the limit of connections, until one is over', async () => {
    const vsock = new VsockDriver(new RecordingHost(), { connections: 2 });
    const first = await vsock.open({ srcPort: 1 });
    await vsock.open({ srcPort: 2 });
    vsock.post(4);
    vsock.send({ op: OP.REQUEST, srcPort: 3 });
    expect(await vsock.received()).toMatchObject([{ op: OP.RST, dstPort: 3 }]);
    expect(vsock.device.connect(1, new RecordedEnd(), 1000)).toBeUndefined();
    first.stream.reset();
    expect(await vsock.received()).toMatchObject([{ op: OP.RST, dstPort: 1 }]);
    await vsock.open({ srcPort: 3 });
  });
});

describe('a connection that the host asks for', () => {
  it('has a port of its own, and is open when the guest has answered', async () => {
    const vsock = new VsockDriver();
    vsock.post(10);
    const [first, second] = [connect(vsock), connect(vsock)];
    first.send('early');
    const requests = await vsock.received();
    expect(requests).toMatchObject([
      { op: OP.REQUEST, srcPort: 2 ** 30, dstPort: 5000 },
      { op: OP.REQUEST, srcPort: 2 ** 30 + 1, dstPort: 5000 },
    ]);
    vsock.send(reply(requests[0]!, OP.RESPONSE));
    const [data] = await vsock.received();
    expect([first.said, second.said, textOf(data!.data)]).toEqual([['opened'], [], 'early']);
  });

  it('waits for the driver', async () => {
    const vsock = new VsockDriver();
    await vsock.driver.reset();
    const end = connect(vsock);
    await turn();
    vsock.driver.start();
    vsock.post(1);
    expect(ops(await vsock.received())).toEqual([OP.REQUEST]);
    expect(end.said).toEqual([]);
  });

  it('is refused by RST', async () => {
    const vsock = new VsockDriver();
    vsock.post(4);
    const end = connect(vsock);
    const [request] = await vsock.received();
    vsock.send(reply(request!, OP.RST));
    expect([end.said, await vsock.received()]).toEqual([['closed refused'], []]);
  });

  it('is given up after its time, and the guest is told if it knows of it', async () => {
    const vsock = new VsockDriver();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const unseen = connect(vsock, 5000, 1000);
    vi.advanceTimersByTime(1000);
    expect(unseen.said).toEqual(['closed timeout']);
    vsock.post(4);
    expect(await vsock.received()).toEqual([]);
    const end = connect(vsock, 5000, 1000);
    const [request] = await vsock.received();
    vi.advanceTimersByTime(999);
    expect(end.said).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(end.said).toEqual(['closed timeout']);
    expect(ops(await vsock.received())).toEqual([OP.RST]);
    // Too late.
    vsock.send(reply(request!, OP.RESPONSE));
    expect(ops(await vsock.received())).toEqual([OP.RST]);
  });
});

describe('data of the guest', () => {
  it('arrives whole, however its packet is cut into buffers', async () => {
    const vsock = new VsockDriver();
    const end = await vsock.open();
    const packet = encodePacket({ op: OP.RW, data: bytesOf('abcdefgh') });
    for (const cuts of [[10], [44], [43, 45], [1, 2, 3, 44, 46, 51], [0, 44, 44]]) {
      const ends = [...cuts, packet.length];
      vsock.tx.post(ends.map((to, index) => packet.slice(index === 0 ? 0 : ends[index - 1], to)));
    }
    expect(end.text).toBe('abcdefgh'.repeat(5));
    expect(vsock.plugged.faults).toEqual([]);
  });

  it('that no credit was given for ends the connection, and none of it is kept', async () => {
    const vsock = new VsockDriver(new RecordingHost(), { window: 4096 });
    const end = await vsock.open();
    end.greedy = false;
    vsock.post(10);
    vsock.send({ op: OP.RW, data: new Uint8Array(4000) });
    vsock.send({ op: OP.RW, data: new Uint8Array(96) });
    end.stream.consumed(1);
    vsock.send({ op: OP.RW, data: new Uint8Array(2) });
    expect(end.said).toEqual(['data 4000', 'data 96', 'closed reset']);
    expect(ops(await vsock.received())).toEqual([OP.RST]);
  });

  it('is given credit again once a quarter of the window was consumed', async () => {
    const vsock = new VsockDriver(new RecordingHost(), { window: 4096 });
    const end = await vsock.open();
    end.greedy = false;
    vsock.post(10);
    vsock.send({ op: OP.RW, data: new Uint8Array(4096) });
    end.stream.consumed(1023);
    expect(await vsock.received()).toEqual([]);
    end.stream.consumed(1);
    expect(await vsock.received()).toMatchObject([{ op: OP.CREDIT_UPDATE, fwdCnt: 1024, bufAlloc: 4096 }]);
  });

  it('counts modulo 2^32', async () => {
    const MiB = 1024 * KiB;
    const vsock = new VsockDriver(new RecordingHost(), { window: 64 * MiB });
    const end = await vsock.open();
    end.received = (bytes) => end.stream.consumed(bytes.length);
    const packet = encodePacket({ op: OP.RW, data: new Uint8Array(MiB) });
    const at = vsock.plugged.ram.put(packet);
    const mark = vsock.plugged.ram.mark();
    for (let count = 0; count < 4096 + 3; count += 1) {
      vsock.tx.post([{ at, length: packet.length }]);
      await turn();
      vsock.tx.collect();
    }
    vsock.plugged.ram.release(mark);
    vsock.post(2);
    vsock.send({ op: OP.CREDIT_REQUEST });
    expect((await vsock.received()).at(-1)).toMatchObject({ op: OP.CREDIT_UPDATE, fwdCnt: 3 * MiB });
    expect(end.said).toEqual([]);
  }, 60_000);
});

describe('data for the guest', () => {
  it('is cut to the buffers that the guest posts', async () => {
    const vsock = new VsockDriver();
    const end = await vsock.open();
    vsock.rx.add([44, 10]);
    vsock.rx.add([30, 14 + 3, 5]);
    vsock.rx.add([100]);
    vsock.rx.notify();
    end.send('0123456789abcdefghijklmnopqrstuvwxyz');
    const packets = await vsock.received();
    expect(packets.map(({ data }) => textOf(data))).toEqual(['0123456789', 'abcdefgh', 'ijklmnopqrstuvwxyz']);
  });

  it('waits for credit, asking for it once', async () => {
    const vsock = new VsockDriver();
    const end = await vsock.open({ bufAlloc: 4 });
    vsock.post(20);
    end.send('123456');
    expect(ops(await vsock.received())).toEqual([OP.RW, OP.CREDIT_REQUEST]);
    end.stream.ready();
    vsock.send({ op: OP.CREDIT_UPDATE, bufAlloc: 4, fwdCnt: 0 });
    expect(await vsock.received()).toEqual([]);
    vsock.send({ op: OP.CREDIT_UPDATE, bufAlloc: 4, fwdCnt: 4 });
    expect((await vsock.received()).map(({ data }) => textOf(data))).toEqual(['56']);
  });

  it('is never sent to a guest that says it took more than it got', async () => {
    const vsock = new VsockDriver();
    const end = await vsock.open({ bufAlloc: 100 });
    vsock.post(20);
    vsock.send({ op: OP.CREDIT_UPDATE, bufAlloc: 100, fwdCnt: 1 });
    end.send('x');
    expect(ops(await vsock.received())).toEqual([OP.CREDIT_REQUEST]);
  });
});

describe('connections take turns', () => {
  it('one packet each', async () => {
    const vsock = new VsockDriver();
    const ends = [];
    for (const srcPort of [1, 2, 3]) ends.push(await vsock.open({ srcPort, bufAlloc: 1024 * KiB }));
    for (const end of ends) end.send(new Uint8Array(20 * KiB));
    vsock.post(9);
    const packets = await vsock.received();
    expect(packets.map(({ dstPort }) => dstPort)).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3]);
  });

  it('and one that is silent costs the others nothing', async () => {
    const vsock = new VsockDriver();
    const ends = [];
    for (let srcPort = 1; srcPort <= 1500; srcPort += 1) ends.push(await vsock.open({ srcPort }));
    expect(vsock.device.stats.connections).toBe(1500);
    ends[700]!.send('only me');
    vsock.post(100);
    const packets = await vsock.received();
    expect(packets.map(({ dstPort, data }) => [dstPort, textOf(data)])).toEqual([[701, 'only me']]);
  });

  it('and a turn of the event loop ends after 256 KiB, each way', async () => {
    const vsock = new VsockDriver();
    const end = await vsock.open({ bufAlloc: 8192 * KiB });
    vsock.post(120);
    end.send(new Uint8Array(480 * KiB));
    await new Promise<void>((resolve) => process.nextTick(resolve));
    const soon = vsock.rx.collect().reduce((sum, { length }) => sum + length, 0);
    expect(soon).toBeGreaterThanOrEqual(256 * KiB);
    expect(soon).toBeLessThan(264 * KiB);
    await turn();
    await turn();
    expect(vsock.rx.collect()).toHaveLength(120 - Math.ceil((256 * KiB) / 4140));

    const packet = encodePacket({ op: OP.RW, data: new Uint8Array(64 * KiB) });
    for (let count = 0; count < 8; count += 1) vsock.tx.add([packet]);
    end.said.length = 0;
    vsock.tx.notify();
    expect(end.said).toHaveLength(4);
    await turn();
    expect(end.said).toHaveLength(8);
  });
});

describe('half of a connection ends', () => {
  it('on the guest: the host may go on', async () => {
    const vsock = new VsockDriver();
    const end = await vsock.open();
    vsock.post(10);
    vsock.send({ op: OP.SHUTDOWN, flags: SEND });
    expect(end.said).toEqual(['ended']);
    end.send('still here');
    end.stream.end();
    const packets = await vsock.received();
    expect(packets.map(({ op, flags }) => [op, flags])).toEqual([
      [OP.RW, 0],
      [OP.SHUTDOWN, RCV | SEND],
    ]);
    vsock.send({ op: OP.RST });
    expect(end.said).toEqual(['ended', 'closed closed']);
    expect(vsock.device.stats.connections).toBe(0);
  });

  it('on the host, after its data: the guest may go on', async () => {
    const vsock = new VsockDriver();
    const end = await vsock.open();
    end.send('last words');
    end.stream.end();
    vsock.post(10);
    const packets = await vsock.received();
    expect(packets.map(({ op, flags }) => [op, flags])).toEqual([
      [OP.RW, 0],
      [OP.SHUTDOWN, SEND],
    ]);
    vsock.send({ op: OP.RW, data: bytesOf('an answer') });
    vsock.send({ op: OP.SHUTDOWN, flags: RCV | SEND });
    expect(end.said).toEqual(['data 9', 'deaf', 'ended', 'closed closed']);
    expect(ops(await vsock.received())).toEqual([OP.RST]);
  });

  it('and what the guest sends after its end breaks the connection', async () => {
    const vsock = new VsockDriver();
    const end = await vsock.open();
    vsock.send({ op: OP.SHUTDOWN, flags: SEND });
    vsock.send({ op: OP.RW, data: bytesOf('zombie') });
    expect(end.said).toEqual(['ended', 'closed reset']);
  });

  it('and a guest that reads no more gets nothing', async () => {
    const vsock = new VsockDriver();
    const end = await vsock.open();
    end.send('late');
    vsock.send({ op: OP.SHUTDOWN, flags: RCV });
    vsock.post(4);
    expect([end.said, await vsock.received()]).toEqual([['deaf'], []]);
  });
});

describe('a connection is over', () => {
  it('when the host closes it: the guest is told, what it still sends is dropped, and it has some time to answer', async () => {
    const vsock = new VsockDriver(new RecordingHost(), { closeMs: 500, window: 4096 });
    const end = await vsock.open();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    vsock.post(20);
    end.stream.close();
    expect((await vsock.received()).map(({ op, flags }) => [op, flags])).toEqual([[OP.SHUTDOWN, RCV | SEND]]);
    for (let count = 0; count < 5; count += 1) vsock.send({ op: OP.RW, data: new Uint8Array(4000) });
    expect(end.said).toEqual([]);
    vi.advanceTimersByTime(500);
    expect(end.said).toEqual(['closed closed']);
    expect(ops(await vsock.received()).at(-1)).toBe(OP.RST);
  });

  it('when the guest breaks it off', async () => {
    const vsock = new VsockDriver();
    const end = await vsock.open();
    vsock.post(4);
    vsock.send({ op: OP.RST });
    expect([end.said, await vsock.received()]).toEqual([['closed reset'], []]);
    end.stream.ready();
    end.stream.end();
    end.stream.consumed(5);
    end.stream.reset();
    expect([end.said, await vsock.received()]).toEqual([['closed reset'], []]);
  });

  it('with its device, and its ports are free again', async () => {
    const vsock = new VsockDriver();
    const ends = [await vsock.open({ srcPort: 1 }), await vsock.open({ srcPort: 2 })];
    await vsock.driver.restart();
    expect(ends.map(({ said }) => said)).toEqual([['closed reset'], ['closed reset']]);
    vsock.post(10);
    expect(await vsock.received()).toEqual([]);
    await vsock.open({ srcPort: 1 });
  });

  it('when the transport is reset, of which the event queue tells the guest', async () => {
    const vsock = new VsockDriver();
    const end = await vsock.open();
    vsock.device.transportReset();
    expect(end.said).toEqual(['closed reset']);
    const events = vsock.driver.queue(2);
    const posted = events.add([4]);
    vsock.plugged.ram.at(posted.pieces[0]!.at, 4).fill(0xee);
    events.notify();
    await turn();
    expect(events.collect().map(({ length }) => length)).toEqual([4]);
    expect([...posted.written()]).toEqual([0, 0, 0, 0]);
    events.post([4]);
    await turn();
    expect(events.collect()).toEqual([]);
  });

  it('when the machine is, and the host is told once', async () => {
    const closed = vi.fn();
    const host = Object.assign(new RecordingHost(), { close: closed });
    const vsock = new VsockDriver(host);
    const end = await vsock.open();
    await vsock.plugged.transport.close();
    expect([end.said, closed.mock.calls.length]).toEqual([['closed reset'], 1]);
  });
});

describe('a packet for nobody', () => {
  const cases = [
    { what: 'data of no connection', packet: { op: OP.RW } },
    { what: 'an answer to no request', packet: { op: OP.RESPONSE } },
    { what: 'an operation of no meaning', packet: { op: 77 } },
    { what: 'a request to a host that is not this one', packet: { op: OP.REQUEST, dstCid: 99n } },
  ];
  it.each(cases)('$what is answered by RST', async ({ packet }) => {
    const vsock = new VsockDriver();
    vsock.post(4);
    vsock.send({ srcPort: 6, dstPort: 7, ...packet });
    const { dstCid = BigInt(HOST) } = packet;
    expect(await vsock.received()).toMatchObject([
      { op: OP.RST, srcPort: 7, dstPort: 6, srcCid: dstCid, dstCid: BigInt(GUEST) },
    ]);
  });

  it.each([
    { what: 'an RST', packet: { op: OP.RST } },
    { what: "a packet in another guest's name", packet: { op: OP.REQUEST, srcCid: 53n } },
    { what: 'one with reserved bits in its source', packet: { op: OP.REQUEST, srcCid: 2n ** 32n + 52n } },
    { what: 'one with reserved bits in its destination', packet: { op: OP.REQUEST, dstCid: 2n ** 32n + 2n } },
  ])('$what has no answer', async ({ packet }) => {
    const vsock = new VsockDriver();
    vsock.post(4);
    vsock.send(packet);
    expect([await vsock.received(), vsock.host.ends, vsock.plugged.faults]).toEqual([[], [], []]);
  });
});

describe('a broken driver', () => {
  it.each([
    { what: 'a packet shorter than a header', bytes: encodePacket({}).slice(0, 43) },
    { what: 'a packet with less payload than it says', bytes: encodePacket({ op: OP.RW, length: 1 }) },
    { what: 'a length beyond everything', bytes: encodePacket({ op: OP.RW, length: 0xffff_ffff }) },
  ])('$what is a fault', ({ bytes }) => {
    const vsock = new VsockDriver();
    vsock.tx.post([bytes]);
    expect(vsock.plugged.faults.map(({ clause }) => clause)).toEqual(['virtio 1.2 §5.10.6']);
  });

  it('an rx buffer without room for a header is a fault, once it is needed', async () => {
    const vsock = new VsockDriver();
    vsock.rx.post([43]);
    expect(vsock.plugged.faults).toEqual([]);
    vsock.send({ op: OP.RW });
    expect(vsock.plugged.faults.map(({ clause }) => clause)).toEqual(['virtio 1.2 §5.10.6']);
  });
});
