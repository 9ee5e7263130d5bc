/** What virtio 1.2 requires of a socket device (§5.10). */
import { describe, expect, it } from 'vitest';
import { EVENT_IDX } from '../support/fake-driver.js';
import { GUEST, OP, RecordingHost, VsockDriver } from '../support/vsock-driver.js';

describe('§5.10.6.1.2 Virtqueue Flow Control', () => {
  it('the tx queue is processed while the rx queue is full, and the answers come when there is room', async () => {
    const vsock = new VsockDriver();
    for (let port = 0; port < 100; port += 1) vsock.send({ op: OP.RW, srcPort: port });
    expect(await vsock.received()).toEqual([]);
    expect(vsock.tx.usedIdx).toBe(100);
    vsock.post(100);
    const answers = await vsock.received();
    expect(answers.map(({ dstPort }) => dstPort)).toEqual(Array.from({ length: 100 }, (_, port) => port));
  });

  it('is processed no further when the room for answers is used up, and goes on later, with nothing lost', async () => {
    // A driver that always kicks.
    const vsock = new VsockDriver(new RecordingHost(), {}, { features: ~EVENT_IDX });
    let sent = 0;
    for (let round = 0; round < 40; round += 1) {
      while (vsock.tx.free > 0 && sent < 1000) vsock.send({ op: OP.RW, srcPort: sent++ });
      await vsock.received();
    }
    expect(sent).toBe(256 + 256);
    const answers: number[] = [];
    while (answers.length < sent) {
      vsock.post(32);
      const packets = await vsock.received();
      answers.push(...packets.map(({ dstPort }) => dstPort));
      if (packets.length === 0) break;
    }
    expect(answers).toEqual(Array.from({ length: sent }, (_, port) => port));
  });
});

describe('§5.10.6.3.2 Buffer Space Management', () => {
  it('RW packets carry only what the peer has room for', async () => {
    const vsock = new VsockDriver();
    const end = await vsock.open({ bufAlloc: 1000 });
    vsock.post(20);
    end.send(new Uint8Array(3000).fill(0x61));
    const [first, asked, ...rest] = await vsock.received();
    expect([first!.op, first!.data.length]).toEqual([OP.RW, 1000]);
    expect([asked!.op, rest]).toEqual([OP.CREDIT_REQUEST, []]);
    // The guest has taken 600 bytes out.
    vsock.send({ op: OP.CREDIT_UPDATE, bufAlloc: 1000, fwdCnt: 600 });
    const more = await vsock.received();
    expect(more.filter(({ op }) => op === OP.RW).map(({ data }) => data.length)).toEqual([600]);
    // Its buffer grows.
    vsock.send({ op: OP.CREDIT_UPDATE, bufAlloc: 9000, fwdCnt: 1600 });
    const last = await vsock.received();
    expect(last.filter(({ op }) => op === OP.RW).map(({ data }) => data.length)).toEqual([1400]);
  });

  it('every packet of a stream says how large our buffer is and how much of it was freed', async () => {
    const vsock = new VsockDriver(new RecordingHost(), { window: 8192 });
    const end = await vsock.open();
    vsock.post(20);
    vsock.send({ op: OP.RW, data: new Uint8Array(5) });
    end.send('x');
    vsock.send({ op: OP.RW, data: new Uint8Array(6000) });
    vsock.send({ op: OP.CREDIT_REQUEST });
    end.stream.end();
    const packets = await vsock.received();
    expect(packets.map(({ op, bufAlloc, fwdCnt }) => [op, bufAlloc, fwdCnt])).toEqual([
      [OP.RW, 8192, 5],
      [OP.CREDIT_UPDATE, 8192, 6005],
      [OP.CREDIT_UPDATE, 8192, 6005],
      [OP.SHUTDOWN, 8192, 6005],
    ]);
  });
});

describe('§5.10.6.4.2 Receive and Transmit', () => {
  it('guest_cid is no reserved CID', () => {
    const vsock = new VsockDriver();
    expect([vsock.driver.config(0), vsock.driver.config(4)]).toEqual([GUEST, 0]);
  });

  it.each([0, 2, 3, 0xffff])('a packet of the unknown type %i is answered by RST', async (type) => {
    const vsock = new VsockDriver();
    vsock.post(4);
    vsock.send({ op: OP.REQUEST, type, srcPort: 7, dstPort: 9 });
    const [answer, ...more] = await vsock.received();
    expect(answer).toMatchObject({
      op: OP.RST,
      type,
      srcPort: 9,
      dstPort: 7,
      srcCid: 2n,
      dstCid: BigInt(GUEST),
    });
    expect([more, vsock.host.ends]).toEqual([[], []]);
  });
});
