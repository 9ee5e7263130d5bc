/** Sockets under load, from the streams of the embedder down to the queues: many connections, in turn and at once, and greedy guests. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { VsockConnection } from '../../../src/index.js';
import { GuestVsock } from '../../../src/vm/guest-vsock.js';
import { turn } from '../../support/plug.js';
import {
  bytesOf,
  connectTo,
  GUEST,
  OP,
  type Packet,
  RecordingHost,
  reply,
  textOf,
  VsockDriver,
} from '../../support/vsock-driver.js';

const KiB = 1024;
const MANY = 10_000;
/** What an rx queue of 256 descriptors holds at once, and some. */
const BATCH = 100;
const SHUT = 3;

let vsock: GuestVsock;
let guest: VsockDriver;
beforeEach(async () => {
  vsock = await GuestVsock.open({ cid: GUEST });
  guest = VsockDriver.of(vsock.device);
});
afterEach(async () => {
  vi.useRealTimers();
  vsock.finish('the test is over');
  await guest.plugged.transport.close();
});

function echo(connection: VsockConnection): void {
  connection.on('data', (chunk: Buffer) => connection.write(chunk));
  connection.on('end', () => connection.end());
}

/** Memory of the buffers that a round needs is taken back after it. */
async function round(work: () => Promise<void>): Promise<void> {
  const mark = guest.plugged.ram.mark();
  await work();
  guest.plugged.ram.release(mark);
}

/** Packets of the device's for buffers of which there are exactly as many. */
async function answers(count: number, ask: () => void): Promise<Packet[]> {
  guest.post(count);
  ask();
  return guest.next(count);
}

describe(`${MANY} short connections`, () => {
  it('of the guest, one after the other, leave nothing', async () => {
    const listener = vsock.listen(80);
    void (async () => {
      for await (const connection of listener) echo(connection);
    })();
    for (let count = 0; count < MANY; count += 1) {
      await round(async () => {
        const from = { srcPort: 1000 + (count % 50_000), dstPort: 80 };
        const [opened] = await answers(1, () => guest.send({ op: OP.REQUEST, ...from }));
        const [data] = await answers(1, () => guest.send({ op: OP.RW, ...from, data: bytesOf('x') }));
        const [over] = await answers(1, () => guest.send({ op: OP.SHUTDOWN, ...from, flags: SHUT }));
        if (opened!.op !== OP.RESPONSE || textOf(data!.data) !== 'x' || over!.op !== OP.RST)
          throw new Error(`connection ${count}: ${[opened!.op, data!.op, over!.op].join()}`);
      });
    }
    expect(vsock.device.stats).toMatchObject({ connections: 0, dropped: 0, resets: MANY });
    expect(guest.plugged.errors).toEqual([]);
  }, 120_000);

  it('of the host, fifty at once, leave nothing', async () => {
    const AT_ONCE = 50;
    for (let count = 0; count < MANY; count += AT_ONCE) {
      await round(async () => {
        const connecting: Promise<VsockConnection>[] = [];
        const requests = await answers(AT_ONCE, () => {
          for (let one = 0; one < AT_ONCE; one += 1) connecting.push(vsock.connect(5000));
        });
        for (const request of requests) guest.send(reply(request, OP.RESPONSE));
        const streams = await Promise.all(connecting);
        const said = await answers(2 * AT_ONCE, () => {
          for (const stream of streams) stream.resume().end(String(stream.hostPort));
        });
        expect(said.filter(({ op }) => op === OP.RW).map(({ data }) => Number(textOf(data)))).toEqual(
          requests.map(({ srcPort }) => srcPort),
        );
        const closed = streams.map((stream) => new Promise((resolve) => stream.once('close', resolve)));
        await answers(AT_ONCE, () => {
          for (const request of requests) guest.send({ ...reply(request, OP.SHUTDOWN), flags: SHUT });
        });
        await Promise.all(closed);
      });
    }
    expect(vsock.device.stats).toMatchObject({ connections: 0, dropped: 0 });
    expect(guest.plugged.errors).toEqual([]);
  }, 120_000);
});

describe('a guest that opens thousands of connections', () => {
  it('has 128 of them wait for the embedder; all others are refused, and all end with the listener', async () => {
    const listener = vsock.listen(80);
    for (let port = 0; port < MANY; port += BATCH) {
      await round(async () => {
        const said = await answers(BATCH, () => {
          for (let one = 0; one < BATCH; one += 1) guest.send({ op: OP.REQUEST, srcPort: port + one });
        });
        expect(said.filter(({ op }) => op === OP.RESPONSE)).toHaveLength(
          Math.max(0, Math.min(BATCH, 128 - port)),
        );
      });
    }
    expect(vsock.device.stats.connections).toBe(128);
    // Streams that nobody has taken are closed: the guest has two seconds to agree.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    await answers(128, () => listener.close());
    vi.advanceTimersByTime(2000);
    await turn();
    expect(vsock.device.stats.connections).toBe(0);
  });

  it('and answers none that the host asks for leaves nothing once their time is over', async () => {
    const refused: string[] = [];
    const waiting = Array.from({ length: 5000 }, () =>
      vsock.connect(5000, { timeout: 100 }).catch(({ code }: { code: string }) => refused.push(code)),
    );
    expect(vsock.device.stats.connections).toBe(4096);
    await Promise.all(waiting);
    expect(vsock.device.stats.connections).toBe(0);
    const counts = ['ERR_VSOCK_REFUSED', 'ERR_TIMEOUT'].map(
      (code) => refused.filter((one) => one === code).length,
    );
    expect(counts).toEqual([5000 - 4096, 4096]);
  }, 60_000);
});

describe('guests that send all they may, and more, to readers that do not read', () => {
  it('fill the windows, which are smaller beyond 256 connections, and who sends more is cut off', async () => {
    const WINDOW = 16 * KiB;
    const driver = new VsockDriver(new RecordingHost(), { window: WINDOW });
    const { ram } = driver.plugged;
    const windows: number[] = [];
    for (let port = 0; port < 300; port += 1) {
      const mark = ram.mark();
      driver.post(1);
      driver.send({ op: OP.REQUEST, srcPort: port });
      const [{ bufAlloc }] = (await driver.next()) as [Packet];
      driver.host.ends.at(-1)!.greedy = false;
      windows.push(bufAlloc);
      driver.send({ op: OP.RW, srcPort: port, data: new Uint8Array(bufAlloc).fill(0x61) });
      await turn();
      driver.tx.collect();
      ram.release(mark);
    }
    expect(windows).toEqual([...Array(256).fill(WINDOW), ...Array(44).fill(WINDOW / 4)]);
    expect(driver.host.ends.map(({ text }) => text.length)).toEqual(windows);
    for (let port = 0; port < 300; port += BATCH) {
      driver.post(BATCH);
      for (let one = 0; one < BATCH; one += 1)
        driver.send({ op: OP.RW, srcPort: port + one, data: bytesOf('x') });
      expect((await driver.next(BATCH)).every(({ op }) => op === OP.RST)).toBe(true);
    }
    expect(driver.host.ends.map(({ text }) => text.length)).toEqual(windows);
    expect(driver.device.stats.connections).toBe(0);
  });

  it('keep nobody from being served', async () => {
    const driver = new VsockDriver(new RecordingHost(), { connections: 100 });
    for (let port = 0; port < 99; port += 1) await driver.open({ srcPort: port, bufAlloc: 0 });
    for (const end of driver.host.ends) end.send('nobody takes it');
    driver.post(BATCH + 2);
    expect((await driver.next(99)).every(({ op }) => op === OP.CREDIT_REQUEST)).toBe(true);
    const one = connectTo(driver);
    const [request] = await driver.next();
    driver.send(reply(request!, OP.RESPONSE));
    one.send('served');
    expect((await driver.next()).map(({ data }) => textOf(data))).toEqual(['served']);
  });
});
