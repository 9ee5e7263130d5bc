/** Our TCP against another one, on wires with faults, in virtual time. */
import { describe, expect, it } from 'vitest';
import { KiB } from '../../../../src/base/units.js';
import { exchange, SERVER } from '../../../support/net/exchange.js';
import { tcpFrame } from '../../../support/net/guest-frames.js';
import { type ParsedTcp, readTcp } from '../../../support/net/guest-tcp.js';
import { TcpBench } from '../../../support/net/tcp-bench.js';
import { WIRES } from '../../../support/net/wires.js';

describe('a TCP connection with the guest', () => {
  it.each(WIRES)('carries data both ways over $what', ({ faults, offloads, guest, isn }) => {
    const options = { faults, offloads: offloads ?? false, ...(guest && { guest }), ...(isn && { isn }) };
    exchange(options, 192 * KiB, 192 * KiB);
  });
});

/** A guest's end by hand: segments in, segments out. */
function byHand(bench = new TcpBench({ incoming: () => {} })) {
  const seen: ParsedTcp[] = [];
  bench.guest.answersStrays = false;
  bench.guest.onPacket = ({ payload, protocol }) => protocol === 6 && void seen.push(readTcp(payload));
  const ends = bench.guest.ends(Uint8Array.of(93, 184, 216, 34));
  const send = (
    flags: string,
    seq: number,
    ack?: number,
    data?: Uint8Array,
    window = 65_535,
    options: number[] = [],
  ): void => {
    const fields = { sourcePort: 5000, destinationPort: 80, seq, flags, window, options };
    bench.guest.sendFrame(
      tcpFrame(ends, { ...fields, ...(ack !== undefined && { ack }), ...(data && { data }) }),
    );
    bench.clock.advance(1);
  };
  return { bench, seen, send };
}

/** An established connection by hand; `at` is our first sequence number after the SYN. */
function open(window = 65_535) {
  const bench = new TcpBench();
  const hand = byHand(bench);
  hand.send('S', 99, undefined, undefined, window);
  const at = (hand.seen[0]!.seq + 1) >>> 0;
  return { ...hand, at };
}

describe('a segment', () => {
  it('for no connection is answered with a reset that its sender believes (RFC 9293 §3.10.7.1)', () => {
    const { seen, send } = byHand();
    send('A', 700, 4242);
    send('FP', 700, undefined, new Uint8Array(10));
    send('R', 700);
    expect(seen).toMatchObject([
      { flags: 'R', seq: 4242 },
      { flags: 'RA', seq: 0, ack: 711 },
    ]);
  });

  it('of a guest that opens is not answered before the host’s side is there', () => {
    const { bench, seen, send } = byHand();
    send('S', 99);
    send('S', 99);
    expect(seen).toEqual([]);
    const [connection] = [...bench.endpoint.connections];
    connection!.abort();
    bench.clock.advance(1);
    expect(seen).toMatchObject([{ flags: 'RA', ack: 100 }]);
    expect(bench.endpoint.count).toBe(0);
  });

  it('that resets an opening ends it', () => {
    const { bench, send } = byHand();
    send('S', 99);
    send('R', 555);
    expect(bench.endpoint.count).toBe(1);
    send('R', 100);
    expect(bench.endpoint.count).toBe(0);
  });

  it('that resets must be the next one; others are questioned (RFC 5961 §3.2)', () => {
    const { bench, seen, send, at } = open();
    send('A', 100, at);
    seen.length = 0;
    send('R', 105);
    expect(seen).toMatchObject([{ flags: 'A', ack: 100 }]);
    send('R', 100 + 70_000);
    expect(bench.endpoint.count).toBe(1);
    send('R', 100);
    expect(bench.endpoint.count).toBe(0);
    expect(bench.users[0]!.how).toBe('reset');
  });

  it('with SYN in a connection is questioned (RFC 5961 §4.2)', () => {
    const { bench, seen, send, at } = open();
    send('A', 100, at);
    seen.length = 0;
    send('S', 105);
    expect(seen).toMatchObject([{ flags: 'A', ack: 100 }]);
    expect(bench.endpoint.count).toBe(1);
  });

  it('that acknowledges what was not sent is answered and has no effect', () => {
    const { bench, seen, send, at } = open();
    send('A', 100, at);
    seen.length = 0;
    send('PA', 100, at + 5000, new Uint8Array(10));
    expect(seen).toMatchObject([{ flags: 'A', ack: 100, seq: at }]);
    expect(bench.users[0]!.pending).toBe(0);
  });

  it('that is a keep-alive is answered', () => {
    const { seen, send, at } = open();
    send('A', 100, at);
    seen.length = 0;
    send('A', 99, at);
    expect(seen).toMatchObject([{ flags: 'A', ack: 100 }]);
  });

  it('outside of the window that carries nothing is answered once, not for ever', () => {
    const { seen, send, at } = open();
    send('A', 100, at);
    seen.length = 0;
    for (let count = 0; count < 20; count += 1) send('A', 99, at);
    expect(seen.length).toBe(1);
  });

  it('with more than the window allows is cut to it', () => {
    const { bench, send, at } = open();
    bench.users[0]!.stalled = true;
    send('A', 100, at);
    // The window is 65 535 bytes: of the last segment five fit, and none of what is behind it.
    for (let seq = 0; seq < 65_530; seq += 6553) send('PA', 100 + seq, at, new Uint8Array(6553));
    send('PA', 100 + 65_530, at, new Uint8Array(50));
    send('PA', 100 + 65_540, at, new Uint8Array(50));
    expect(bench.users[0]!.pending).toBe(65_535);
  });

  it('behind a gap is acknowledged at once, and kept', () => {
    const { bench, seen, send, at } = open();
    send('A', 100, at);
    seen.length = 0;
    send('PA', 110, at, Buffer.from('world'));
    expect(seen).toMatchObject([{ flags: 'A', ack: 100 }]);
    let text = '';
    bench.users[0]!.onData = (bytes) => {
      text += Buffer.from(bytes).toString();
    };
    send('PA', 100, at, Buffer.from('hello, the '));
    expect(text).toBe('hello, the orld'); // what came first counts
    expect(seen.at(-1)).toMatchObject({ ack: 115 });
  });
});

describe('the options of an opening', () => {
  const MSS = [2, 4, 5, 0xb4];
  const SCALE = [1, 3, 3, 7];
  const SACK_PERMITTED = [1, 1, 4, 2];
  const opened = (...options: number[]) => {
    const hand = byHand(new TcpBench());
    hand.send('S', 99, undefined, undefined, 65_535, options);
    return { ...hand, answer: hand.seen[0]!.options, at: (hand.seen[0]!.seq + 1) >>> 0 };
  };

  it('are answered as far as the guest has them (RFC 7323 §2.2, RFC 2018 §2), and timestamps are not', () => {
    const TIMESTAMPS = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0];
    const { answer } = opened(...MSS, ...SCALE, ...SACK_PERMITTED, ...TIMESTAMPS);
    expect(answer).toEqual({ mss: 1460, scale: 5, sackPermitted: true });
    expect(opened(...MSS).answer).toEqual({ mss: 1460 });
    expect(opened().answer).toEqual({ mss: 1460 });
  });

  it('are all offered to a guest that is asked', () => {
    const { bench, seen } = byHand();
    bench.connect(5000);
    bench.clock.advance(1);
    expect(seen[0]).toMatchObject({ flags: 'S', options: { mss: 1460, scale: 5, sackPermitted: true } });
  });

  it('have the guest told what came behind a gap, until that is filled (RFC 2018 §3)', () => {
    const { seen, send, at } = opened(...SACK_PERMITTED);
    const came = (seq: number, length = 10): object => {
      send('PA', seq, at, new Uint8Array(length));
      return { ack: seen.at(-1)!.ack, sack: seen.at(-1)!.options.sack };
    };
    expect(came(100)).toEqual({ ack: 110, sack: undefined });
    expect(came(120)).toEqual({ ack: 110, sack: [[120, 130]] });
    expect(came(140)).toEqual({
      ack: 110,
      sack: [
        [140, 150],
        [120, 130],
      ],
    });
    expect(came(110)).toEqual({ ack: 130, sack: [[140, 150]] });
    expect(came(130)).toEqual({ ack: 150, sack: undefined });
  });

  it('do not make a segment with data longer, nor tell a guest that did not ask', () => {
    const { bench, seen, send, at } = opened(...SACK_PERMITTED);
    send('PA', 120, at, new Uint8Array(10));
    bench.users[0]!.connection.write(new Uint8Array(1000));
    bench.clock.advance(1);
    const lengths = seen.map(({ data }) => data.length).filter((length) => length > 0);
    expect(lengths).toEqual([536, 464]); // without an MSS of the guest's
    expect(seen.filter(({ data, options }) => data.length > 0 && options.sack)).toEqual([]);
    const other = opened();
    other.send('PA', 120, other.at, new Uint8Array(10));
    expect(other.seen.at(-1)!.options).toEqual({});
  });
});

describe('an opening', () => {
  it('is acknowledged again when the answer was lost', () => {
    const { seen, send } = open();
    expect(seen).toMatchObject([{ flags: 'SA', ack: 100 }]);
    send('S', 99);
    expect(seen[1]).toMatchObject({ flags: 'SA', ack: 100, seq: seen[0]!.seq });
  });

  it('that is never confirmed ends after a while', () => {
    const { bench, seen } = open();
    bench.clock.advance(10 * 60_000);
    expect(seen.filter(({ flags }) => flags === 'SA').length).toBe(7);
    expect(bench.endpoint.count).toBe(0);
    expect(bench.users[0]!.how).toBe('timeout');
  });

  it('of ours is given up when the guest is silent', () => {
    const bench = new TcpBench();
    bench.guest.silent = true;
    const user = bench.connect(80);
    bench.clock.advance(10 * 60_000);
    expect(user.how).toBe('timeout');
    expect(bench.endpoint.count).toBe(0);
  });

  it('of ours reaches a guest that listens, and learns of one that does not', () => {
    const bench = new TcpBench();
    bench.guest.listen(80, () => {});
    const [first, second] = [bench.connect(80), bench.connect(81, 40_001)];
    bench.clock.advance(100);
    expect([first.isEstablished, second.how]).toEqual([true, 'reset']);
  });
});

describe('a window', () => {
  it('that is closed is probed for as long as the guest answers', () => {
    const { bench, seen, send, at } = open(0);
    send('A', 100, at, undefined, 0);
    bench.users[0]!.connection.write(Buffer.from('hello'));
    seen.length = 0;
    for (let probes = 0; probes < 40; probes += 1) {
      bench.clock.run(() => seen.length > probes);
      expect(seen[probes]).toMatchObject({ seq: at, data: Uint8Array.of(104) });
      send('A', 100, at, undefined, 0);
    }
    expect(bench.endpoint.count).toBe(1);
    send('A', 100, at, undefined, 1000);
    expect(seen.at(-1)).toMatchObject({ seq: at, data: Uint8Array.from(Buffer.from('hello')) });
  });

  it('that stays closed without an answer ends the connection', () => {
    const { bench, send, at } = open(0);
    send('A', 100, at, undefined, 0);
    bench.users[0]!.connection.write(Buffer.from('hello'));
    bench.clock.advance(20 * 60_000);
    expect(bench.users[0]!.how).toBe('timeout');
  });

  it('of ours closes while the host does not take data, and opens again', () => {
    const bench = new TcpBench();
    const guest = bench.guest.connect(SERVER, 80);
    bench.onUser = (user) => {
      user.stalled = true;
    };
    guest.write(new Uint8Array(1_000_000));
    bench.clock.advance(60_000);
    const [user] = bench.users;
    expect(guest.peerWindow).toBe(0);
    expect(user!.pending).toBe(65_535); // without scaling yet when it was offered
    user!.consume();
    bench.clock.advance(60_000);
    expect(guest.unsent).toBe(0);
  });
});

describe('a window that was closed', () => {
  it('on both ends opens again by the guest’s word, though its numbers lie behind our window', () => {
    const { bench, seen, send, at } = open(0);
    const [user] = bench.users;
    user!.stalled = true;
    send('A', 100, at, undefined, 0);
    user!.connection.write(Buffer.from('hello'));
    for (let seq = 0; seq < 65_535; seq += 13_107) send('PA', 100 + seq, at, new Uint8Array(13_107), 0);
    send('PA', 100 + 65_535, at, new Uint8Array(1), 0); // a probe of our window
    seen.length = 0;
    send('A', 100 + 65_536, at, undefined, 5000);
    expect(seen.map(({ data }) => Buffer.from(data).toString())).toContain('hello');
  });

  it('is told as soon as it opens', () => {
    const { bench, seen, send, at } = open();
    bench.users[0]!.stalled = true;
    send('A', 100, at);
    for (let seq = 0; seq < 65_535; seq += 13_107) send('PA', 100 + seq, at, new Uint8Array(13_107));
    expect(seen.at(-1)).toMatchObject({ window: 0 });
    seen.length = 0;
    bench.users[0]!.consume();
    bench.clock.advance(1);
    expect(seen).toMatchObject([{ flags: 'A', window: 65_535 }]);
  });
});

describe('a guest without room for frames', () => {
  it('gets the next ones as soon as it has room, without a timer', () => {
    const bench = new TcpBench({ faults: { capacity: 2, delay: 0.1 } });
    const guest = bench.guest.connect(SERVER, 80);
    bench.clock.advance(5);
    for (let count = 0; count < 4; count += 1) bench.users[0]!.connection.write(new Uint8Array(16_000));
    bench.clock.advance(50);
    expect(guest.received).toBe(64_000);
  });

  it('is shared by connections in turn', () => {
    const bench = new TcpBench();
    const guests = [1, 2, 3].map((port) => bench.guest.connect(SERVER, 80, { localPort: port }));
    bench.clock.advance(5);
    const send = bench.toGuest.send.bind(bench.toGuest);
    let room = 0;
    bench.toGuest.send = (item) => (room-- > 0 ? send(item) : false);
    for (const { connection } of bench.users) connection.write(new Uint8Array(14_600));
    for (let frame = 0; frame < 9; frame += 1) {
      room = 1;
      bench.endpoint.resume();
    }
    room = 0;
    bench.clock.advance(0.5);
    expect(guests.map(({ received }) => received)).toEqual([4380, 4380, 4380]);
  });

  it('is not sent to until it says that it has room, and then at once', () => {
    const bench = new TcpBench();
    const guest = bench.guest.connect(SERVER, 80);
    bench.clock.advance(5);
    const send = bench.toGuest.send.bind(bench.toGuest);
    bench.toGuest.send = () => false;
    bench.users[0]!.connection.write(new Uint8Array(1000));
    bench.clock.advance(3600_000); // silence that means nothing: the connection stays
    bench.toGuest.send = send;
    bench.endpoint.resume();
    bench.clock.advance(1);
    expect([guest.received, bench.users[0]!.how]).toEqual([1000, undefined]);
  });
});

describe('the end of a connection', () => {
  it('may come from either side first; the other goes on', () => {
    const bench = new TcpBench();
    const guest = bench.guest.connect(SERVER, 80);
    bench.clock.advance(10);
    const [user] = bench.users;
    user!.connection.end();
    bench.clock.advance(10);
    expect([guest.ended, user!.connection.state]).toEqual([true, 'fin-wait-2']);
    let got = 0;
    user!.onData = (bytes) => {
      got += bytes.length;
    };
    guest.write(new Uint8Array(100_000));
    guest.end();
    bench.clock.advance(100);
    expect([got, user!.how, guest.state]).toEqual([100_000, 'ended', 'closed']);
  });

  it('is acknowledged again from TIME-WAIT, and a new connection may follow', () => {
    const { bench, seen, send, at } = open();
    send('A', 100, at);
    bench.users[0]!.connection.end();
    send('A', 100, at + 1);
    send('FA', 100, at + 1);
    expect(bench.endpoint.count).toBe(0);
    seen.length = 0;
    send('FA', 100, at + 1);
    send('R', 101);
    send('FA', 100, at + 1);
    expect(seen).toMatchObject([{ flags: 'A', ack: 101, seq: at + 1 }, { flags: 'A' }]);
    send('S', 50); // an old one
    expect(seen.at(-1)).toMatchObject({ flags: 'A', ack: 101 });
    send('S', 5000);
    expect(seen.at(-1)).toMatchObject({ flags: 'SA', ack: 5001, seq: at + 1 + 128_000 });
  });

  it('comes when both close at once', () => {
    const bench = new TcpBench({ faults: { delay: 10 } });
    const guest = bench.guest.connect(SERVER, 80);
    bench.clock.advance(100);
    guest.end();
    bench.users[0]!.connection.end();
    bench.clock.advance(1000);
    expect([guest.state, bench.users[0]!.how, bench.endpoint.count]).toEqual(['closed', 'ended', 0]);
  });

  it('is not near when a segment is lost: it comes again after a few round trips (RFC 6298)', () => {
    const bench = new TcpBench({ faults: { delay: 20 } });
    const guest = bench.guest.connect(SERVER, 80);
    bench.clock.advance(200);
    const { connection } = bench.users[0]!;
    for (let count = 0; count < 10; count += 1) {
      connection.write(new Uint8Array(1000));
      bench.clock.advance(100);
    }
    bench.toGuest.send = () => true; // lost
    connection.write(new Uint8Array(1000));
    Reflect.deleteProperty(bench.toGuest, 'send');
    bench.clock.advance(300); // the least timeout, and the way; without a measurement it would be a second
    expect(guest.received).toBe(11_000);
  });

  it('comes when the guest falls silent with data under way', () => {
    const bench = new TcpBench();
    bench.guest.connect(SERVER, 80);
    bench.clock.advance(10);
    bench.guest.silent = true;
    bench.users[0]!.connection.write(new Uint8Array(1000));
    bench.clock.advance(90_000);
    expect(bench.users[0]!.how).toBeUndefined();
    bench.clock.advance(10 * 60_000);
    expect(bench.users[0]!.how).toBe('timeout');
  });

  it('comes when an idle guest answers no question for hours', () => {
    const bench = new TcpBench();
    bench.guest.connect(SERVER, 80);
    bench.clock.advance(6 * 3600_000);
    expect(bench.users[0]!.how).toBeUndefined(); // it answers
    bench.guest.silent = true;
    bench.clock.advance(4 * 3600_000);
    expect(bench.users[0]!.how).toBe('timeout');
  });
});

describe('many connections', () => {
  it('are refused beyond the limit, and make room when they end', () => {
    const bench = new TcpBench();
    const all = Array.from({ length: 4200 }, (_, index) =>
      bench.guest.connect(SERVER, 80, { localPort: 1000 + index }),
    );
    bench.clock.advance(50);
    expect(bench.endpoint.count).toBe(4096);
    expect(all.filter(({ state }) => state === 'open').length).toBe(4096);
    for (const one of all) if (one.state === 'open') one.reset();
    bench.clock.advance(50);
    expect(bench.endpoint.count).toBe(0);
  });

  it('give back what they had of the pool', () => {
    const bench = new TcpBench({ faults: { delay: 0.1 } });
    const before = bench.endpoint.pool.left;
    const guest = bench.guest.connect(SERVER, 80);
    guest.write(new Uint8Array(4 * 1024 * KiB));
    bench.clock.advance(300);
    expect(bench.endpoint.pool.left).toBeLessThan(before);
    guest.reset();
    bench.clock.advance(10);
    expect(bench.endpoint.pool.left).toBe(before);
  });
});
