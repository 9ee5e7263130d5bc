/** The socket device: packets for nobody, and drivers that break rules. */
import { describe, expect, it } from 'vitest';
import { encodePacket, GUEST, HOST, OP, VsockDriver } from '../../../support/vsock-driver.js';

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
