/** The socket device: whose turn it is, and how much one turn does. */
import { describe, expect, it } from 'vitest';
import { turn } from '../../../support/plug.js';
import { encodePacket, OP, textOf, VsockDriver } from '../../../support/vsock-driver.js';

const KiB = 1024;

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
