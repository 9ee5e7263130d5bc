/** The resolver that a guest is given: messages in, messages out; over UDP and TCP; what it refuses. */
import { type Answer, type DecodedPacket, decode, encode, type Packet } from 'dns-packet';
import { describe, expect, it } from 'vitest';
import { closed, type UserNetBench, until, userNet } from '../../../support/net/user-net-bench.js';

const many = Array.from({ length: 40 }, (_, index) => `93.184.216.${index + 1}`);
const dns = ({ name }: { name: string }): string[] | false =>
  ({ 'one.test': ['93.184.216.34', '2606:4700::1'], 'many.test': many })[name] ?? false;

async function ask(
  bench: UserNetBench,
  packet: Packet | Uint8Array,
): Promise<DecodedPacket & { rcode: string }> {
  const answer = new Promise<Uint8Array>((resolve) => {
    bench.guest.onUdp = ({ data, sourcePort }) => sourcePort === 53 && resolve(data);
  });
  const query = packet instanceof Uint8Array ? packet : encode(packet);
  bench.guest.sendUdp('10.0.2.3', 4000, 53, query);
  return decode(Buffer.from(await answer)) as DecodedPacket & { rcode: string };
}

const question = (name: string, type: 'A' | 'AAAA' | 'TXT' | 'HTTPS' = 'A'): Packet => ({
  type: 'query',
  id: 4711,
  flags: 0x0100,
  questions: [{ name, type: type as 'A' }],
});
const dataOf = ({ answers }: Packet): unknown[] =>
  answers!.map((answer) => (answer as { data: unknown }).data);

describe('the resolver', () => {
  it('answers for each kind of address, and copies what it was asked', async () => {
    await using bench = userNet({ dns });
    const a = await ask(bench, question('One.TEST'));
    expect(a).toMatchObject({ id: 4711, type: 'response', rcode: 'NOERROR', flag_rd: true, flag_ra: true });
    expect(a.questions).toMatchObject([{ name: 'One.TEST', type: 'A' }]);
    expect(dataOf(a)).toEqual(['93.184.216.34']);
    expect(dataOf(await ask(bench, question('one.test', 'AAAA')))).toEqual(['2606:4700::1']);
  });

  it('knows a name that has no record of a kind from one that does not exist', async () => {
    await using bench = userNet({ dns });
    for (const type of ['TXT', 'HTTPS'] as const) {
      expect(await ask(bench, question('one.test', type))).toMatchObject({ rcode: 'NOERROR', answers: [] });
    }
    expect((await ask(bench, question('none.test'))).rcode).toBe('NXDOMAIN');
  });

  it('says when an answer does not fit, which TCP or EDNS then carries', async () => {
    await using bench = userNet({ dns });
    const short = await ask(bench, question('many.test'));
    expect([short.flag_tc, short.answers!.length]).toEqual([true, 0]);
    const opt = { type: 'OPT', name: '.', udpPayloadSize: 4096, flags: 0, options: [] } as unknown as Answer;
    const wide = await ask(bench, { ...question('many.test'), additionals: [opt] });
    expect([wide.flag_tc, wide.answers!.length]).toEqual([false, 40]);
    const connection = bench.guest.connect('10.0.2.3', 53);
    const chunks: Buffer[] = [];
    connection.onData = (bytes) => void chunks.push(Buffer.from(bytes));
    const query = encode(question('many.test'));
    const framed = Buffer.concat([Buffer.from([query.length >> 8, query.length & 255]), query]);
    // Two questions, the second one in pieces.
    connection.write(Buffer.concat([framed, framed.subarray(0, 7)]));
    await until(() => connection.inFlight === 0 && connection.state === 'open');
    connection.write(framed.subarray(7));
    connection.end();
    expect(await closed(connection)).toBe('done');
    const all = Buffer.concat(chunks);
    const length = all.readUInt16BE(0);
    expect(all.length).toBe(2 * (2 + length));
    expect((decode(all.subarray(2, 2 + length)) as Packet).answers!.length).toBe(40);
  });

  it.each([
    ['no question', { ...question('one.test'), questions: [] }, 'FORMERR'],
    [
      'two questions',
      {
        ...question('a.test'),
        questions: [...question('a.test').questions!, ...question('b.test').questions!],
      },
      'FORMERR',
    ],
    [
      'another class',
      { ...question('a.test'), questions: [{ name: 'a.test', type: 'A' as const, class: 'CH' as const }] },
      'NOTIMP',
    ],
    ['an update', { ...question('a.test'), flags: 5 << 11 }, 'NOTIMP'],
  ])('refuses %s', async (_, packet, rcode) => {
    await using bench = userNet({ dns });
    expect((await ask(bench, packet as Packet)).rcode).toBe(rcode);
  });

  it('does not answer what is no question', async () => {
    await using bench = userNet({ dns });
    const loop = Uint8Array.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1]); // a name that points to itself
    for (const bytes of [loop, new Uint8Array(5), encode({ ...question('a.test'), type: 'response' })]) {
      bench.guest.sendUdp('10.0.2.3', 4000, 53, bytes);
    }
    expect((await ask(bench, question('one.test'))).rcode).toBe('NOERROR');
    expect(bench.net.stats().framesOut).toBe(1);
  });

  it('is not a way to other ports', async () => {
    await using bench = userNet({ allow: ['*', '10.0.0.0/8'] });
    const connection = bench.guest.connect('10.0.2.3', 80);
    expect(await closed(connection)).toBe('reset');
  });
});
