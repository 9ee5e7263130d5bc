/** The socket device: what connections carry, and credit for it. */
import { describe, expect, it } from 'vitest';
import { turn } from '../../../support/plug.js';
import {
  bytesOf,
  encodePacket,
  OP,
  ops,
  RecordingHost,
  textOf,
  VsockDriver,
} from '../../../support/vsock-driver.js';

const KiB = 1024;

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
