/** The socket device: half-close, and ends of every kind. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { turn } from '../../../support/plug.js';
import { bytesOf, OP, ops, RecordingHost, VsockDriver } from '../../../support/vsock-driver.js';

const RCV = 1;
const SEND = 2;

afterEach(() => {
  vi.useRealTimers();
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
