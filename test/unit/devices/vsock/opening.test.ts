/** The socket device: what it is, and how connections from either side begin. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { REG } from '../../../support/fake-driver.js';
import { turn } from '../../../support/plug.js';
import {
  bytesOf,
  connectTo,
  GUEST,
  HOST,
  OP,
  ops,
  RecordedEnd,
  RecordingHost,
  reply,
  textOf,
  VsockDriver,
} from '../../../support/vsock-driver.js';

const KiB = 1024;

afterEach(() => {
  vi.useRealTimers();
});

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
    const [first, second] = [connectTo(vsock), connectTo(vsock)];
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
    const end = connectTo(vsock);
    await turn();
    vsock.driver.start();
    vsock.post(1);
    expect(ops(await vsock.received())).toEqual([OP.REQUEST]);
    expect(end.said).toEqual([]);
  });

  it('is refused by RST', async () => {
    const vsock = new VsockDriver();
    vsock.post(4);
    const end = connectTo(vsock);
    const [request] = await vsock.received();
    vsock.send(reply(request!, OP.RST));
    expect([end.said, await vsock.received()]).toEqual([['closed refused'], []]);
  });

  it('is given up after its time, and the guest is told if it knows of it', async () => {
    const vsock = new VsockDriver();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const unseen = connectTo(vsock, 5000, 1000);
    vi.advanceTimersByTime(1000);
    expect(unseen.said).toEqual(['closed timeout']);
    vsock.post(4);
    expect(await vsock.received()).toEqual([]);
    const end = connectTo(vsock, 5000, 1000);
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
