/** Sockets of a guest as an embedder and other programs on the host see them; a driver of the tests plays the guest. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket, connect as unixConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { VsockConnection } from '../../../src/backends/vsock/stream.js';
import { GuestVsock } from '../../../src/vm/guest-vsock.js';
import { EVENT_IDX } from '../../support/fake-driver.js';
import { turn } from '../../support/plug.js';
import { bytesOf, GUEST, OP, type Packet, textOf, VsockDriver } from '../../support/vsock-driver.js';

const SEND = 2;
const BOTH = 3;
const KiB = 1024;

let folder: string;
const open: { readonly vsock: GuestVsock; readonly guest: VsockDriver }[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'typevisor-vsock-'));
});
afterEach(async () => {
  for (const { vsock, guest } of open.splice(0)) {
    vsock.finish('the test is over');
    await guest.plugged.transport.close();
  }
  rmSync(folder, { recursive: true });
});

async function machine(path?: string): Promise<{ vsock: GuestVsock; guest: VsockDriver }> {
  const vsock = await GuestVsock.open({ cid: GUEST, ...(path !== undefined && { path }) });
  const guest = VsockDriver.of(vsock.device);
  open.push({ vsock, guest });
  guest.post(100);
  return { vsock, guest };
}

const back = ({ srcPort, dstPort }: Packet) => ({ srcPort: dstPort, dstPort: srcPort });

/** A connection to the guest, which takes it. */
async function connected(
  vsock: GuestVsock,
  guest: VsockDriver,
): Promise<{ stream: VsockConnection; ports: { srcPort: number; dstPort: number } }> {
  const connecting = vsock.connect(5000);
  const [request] = await guest.next();
  const ports = back(request!);
  guest.send({ op: OP.RESPONSE, ...ports });
  return { stream: await connecting, ports };
}

async function textFrom(stream: AsyncIterable<Buffer>): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += chunk.toString('latin1');
  return text;
}
const once = (emitter: NodeJS.EventEmitter, event: string): Promise<unknown> =>
  new Promise((resolve) => emitter.once(event, resolve));

describe('connect', () => {
  it('gives a stream both ways, with the ports of both sides', async () => {
    const { vsock, guest } = await machine();
    const { stream, ports } = await connected(vsock, guest);
    expect([stream.guestPort, stream.hostPort]).toEqual([5000, 2 ** 30]);
    stream.write('hello, ');
    stream.end('guest');
    const packets = await guest.next(2);
    const data = packets.filter(({ op }) => op === OP.RW).map((packet) => textOf(packet.data));
    expect(data.join('')).toBe('hello, guest');
    guest.send({ op: OP.RW, ...ports, data: bytesOf('hello, host') });
    guest.send({ op: OP.SHUTDOWN, ...ports, flags: BOTH });
    expect(await textFrom(stream)).toBe('hello, host');
    expect(vsock.device.stats).toMatchObject({ connections: 0, sent: 12, received: 11 });
  });

  it('says why it failed: nobody listens, no answer in time, an abort, a machine that ended', async () => {
    const { vsock, guest } = await machine();
    const refused = vsock.connect(5000);
    const [request] = await guest.next();
    guest.send({ op: OP.RST, ...back(request!) });
    await expect(refused).rejects.toMatchObject({ code: 'ERR_VSOCK_REFUSED', message: /5000.*nobody/ });
    await expect(vsock.connect(5000, { timeout: 20 })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
    await expect(vsock.connect(5000, { signal: AbortSignal.timeout(20) })).rejects.toThrow(/timeout/);
    await expect(vsock.connect(5000, { signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no');
    const late = vsock.connect(5000);
    vsock.finish('it was killed');
    await guest.driver.reset();
    await expect(late).rejects.toMatchObject({ code: 'ERR_GUEST_EXIT', message: /it was killed/ });
    await expect(vsock.connect(5000)).rejects.toMatchObject({ code: 'ERR_GUEST_EXIT' });
    expect(vsock.device.stats.connections).toBe(0);
  });

  it.each([0, -1, 1.5, 2 ** 32 - 1, 2 ** 32, Number.NaN, '80' as unknown as number])(
    'refuses port %s, as listen does',
    async (port) => {
      const { vsock } = await machine();
      expect(() => vsock.listen(port)).toThrow(/port: must be a whole number/);
      await expect(vsock.connect(port)).rejects.toMatchObject({ code: 'ERR_VMM_CONFIG' });
    },
  );
});

describe('a stream', () => {
  it('makes its writer wait for the guest', async () => {
    const { vsock, guest } = await machine();
    const { stream, ports } = await connected(vsock, guest);
    // The guest has room for 64 KiB.
    expect(stream.write(Buffer.alloc(160 * KiB))).toBe(false);
    let drained = false;
    stream.once('drain', () => {
      drained = true;
    });
    expect(await guest.next(17)).toHaveLength(17);
    expect(drained).toBe(false);
    guest.send({ op: OP.CREDIT_UPDATE, ...ports, bufAlloc: 2 ** 20, fwdCnt: 64 * KiB });
    await guest.received();
    await turn();
    expect(drained).toBe(true);
  });

  it('that nobody reads holds no more than the window and what streams hold', async () => {
    const { vsock, guest } = await machine();
    const { stream, ports } = await connected(vsock, guest);
    let sent = 0;
    let credit = 256 * KiB;
    for (let round = 0; round < 40; round += 1) {
      const data = new Uint8Array(32 * KiB).fill(round);
      if (sent + data.length <= credit) {
        guest.send({ op: OP.RW, ...ports, data });
        sent += data.length;
      }
      for (const { bufAlloc, fwdCnt } of await guest.received()) credit = bufAlloc + fwdCnt;
    }
    expect(sent).toBeGreaterThanOrEqual(256 * KiB);
    expect(sent).toBeLessThanOrEqual(256 * KiB + stream.readableHighWaterMark + 32 * KiB);
    // Read at last: everything is there, in order, and the guest may send more.
    const whole: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => whole.push(chunk));
    for (let tries = 0; tries < 20; tries += 1) await turn();
    const bytes = Buffer.concat(whole);
    expect(bytes.length).toBe(sent);
    expect([...bytes].every((byte, at) => byte === Math.floor(at / (32 * KiB)))).toBe(true);
    for (const { bufAlloc, fwdCnt } of await guest.received()) credit = bufAlloc + fwdCnt;
    expect(credit).toBeGreaterThan(sent + 128 * KiB);
  });

  it('fails when the guest breaks it off, after what came before', async () => {
    const { vsock, guest } = await machine();
    const { stream, ports } = await connected(vsock, guest);
    const text = textFrom(stream);
    guest.send({ op: OP.RW, ...ports, data: bytesOf('last') });
    guest.send({ op: OP.RST, ...ports });
    await expect(text).rejects.toMatchObject({ code: 'ERR_VSOCK_RESET', message: /5000.*broke off/ });
  });

  it('ends quietly with the machine when nobody looks at its errors', async () => {
    const { vsock, guest } = await machine();
    const { stream } = await connected(vsock, guest);
    const closed = once(stream, 'close');
    vsock.finish('the guest powered off');
    await guest.plugged.transport.close();
    await closed;
    expect(stream.errored).toBeNull();
  });

  it('fails when the machine ends', async () => {
    const { vsock, guest } = await machine();
    const { stream } = await connected(vsock, guest);
    const failed = once(stream, 'error');
    vsock.finish('the guest powered off');
    await guest.plugged.transport.close();
    expect(await failed).toMatchObject({ code: 'ERR_GUEST_EXIT', message: /the guest powered off/ });
  });

  it('lets its reader have an answer before its writer fails, when the guest wants no more', async () => {
    const { vsock, guest } = await machine();
    const { stream, ports } = await connected(vsock, guest);
    const events: string[] = [];
    stream.on('error', ({ message }) => events.push(message));
    guest.send({ op: OP.CREDIT_UPDATE, ...ports, bufAlloc: 0, fwdCnt: 0 });
    stream.write('too much');
    guest.send({ op: OP.RW, ...ports, bufAlloc: 0, data: bytesOf('enough') });
    guest.send({ op: OP.SHUTDOWN, ...ports, bufAlloc: 0, flags: BOTH });
    await turn();
    await turn();
    expect(events).toEqual([]);
    stream.on('data', (chunk: Buffer) => events.push(chunk.toString()));
    await once(stream, 'close');
    expect(events).toEqual(['enough', expect.stringMatching(/reads no more/)]);
  });

  it('tells the guest of end() and of destroy()', async () => {
    const { vsock, guest } = await machine();
    const first = await connected(vsock, guest);
    first.stream.end();
    expect(await guest.next()).toMatchObject([{ op: OP.SHUTDOWN, flags: SEND }]);
    const second = await connected(vsock, guest);
    second.stream.destroy();
    expect(await guest.next()).toMatchObject([{ op: OP.SHUTDOWN, flags: BOTH }]);
    const third = await connected(vsock, guest);
    third.stream.on('error', () => {});
    third.stream.destroy(new Error('mine'));
    expect(await guest.next()).toMatchObject([{ op: OP.RST }]);
  });

  it("runs no code of its users in the device's turn", async () => {
    const { vsock, guest } = await machine();
    const { stream, ports } = await connected(vsock, guest);
    const stacks: string[] = [];
    stream.on('data', () => stacks.push(new Error().stack!));
    stream.on('drain', () => stacks.push(new Error().stack!));
    stream.write(Buffer.alloc(stream.writableHighWaterMark));
    guest.send({ op: OP.RW, ...ports, bufAlloc: 2 ** 20, data: bytesOf('x') });
    await turn();
    await turn();
    expect(stacks).toHaveLength(2);
    for (const stack of stacks) expect(stack).not.toMatch(/connection\.ts|devices.vsock/);
  });
});

it('an answer that comes at once costs the guest one interrupt, and a packet without one is told too', async () => {
  const vsock = await GuestVsock.open({ cid: GUEST });
  // A driver that wants every interrupt.
  const guest = new VsockDriver(undefined, {}, { features: ~EVENT_IDX }, vsock.device);
  open.push({ vsock, guest });
  guest.post(100);
  const { stream, ports } = await connected(vsock, guest);
  let answers = true;
  // Whose data takes several ticks to come there.
  const echoing = (async () => {
    for await (const chunk of stream) if (answers) stream.write(chunk);
  })();
  await guest.received();
  guest.plugged.irq.take();
  for (let count = 0; count < 3; count += 1) {
    guest.send({ op: OP.RW, ...ports, data: bytesOf('x') });
    expect(await guest.received()).toHaveLength(1);
  }
  expect(guest.plugged.irq.take()).toBe(3);
  answers = false;
  const used = guest.tx.usedIdx;
  guest.send({ op: OP.RW, ...ports, data: bytesOf('x') });
  expect(await guest.received()).toEqual([]);
  expect([guest.tx.usedIdx - used, guest.plugged.irq.take()]).toEqual([1, 1]);
  stream.destroy();
  await expect(echoing).rejects.toThrow('Premature close');
});

describe('listen', () => {
  it('gives the guest’s connections one after the other, until it is closed', async () => {
    const { vsock, guest } = await machine();
    const listener = vsock.listen(80);
    expect(() => vsock.listen(80)).toThrow('port: 80 is taken');
    guest.send({ op: OP.REQUEST, srcPort: 1, dstPort: 80 });
    guest.send({ op: OP.REQUEST, srcPort: 2, dstPort: 80 });
    guest.send({ op: OP.RW, srcPort: 1, dstPort: 80, data: bytesOf('one') });
    const ports: number[] = [];
    for await (const stream of listener) {
      ports.push(stream.guestPort);
      if (ports.length === 1) {
        expect((await once(stream, 'data'))?.toString()).toBe('one');
        stream.destroy();
      }
      if (ports.length === 2) break;
    }
    expect(ports).toEqual([1, 2]);
    await guest.received();
    guest.send({ op: OP.REQUEST, srcPort: 3, dstPort: 80 });
    expect(await guest.next()).toMatchObject([{ op: OP.RST, dstPort: 3 }]);
    vsock.listen(80).close();
  });

  it('lets 128 connections wait and refuses more', async () => {
    const { vsock, guest } = await machine();
    await using listener = vsock.listen(80);
    for (let port = 0; port < 200; port += 1) {
      guest.send({ op: OP.REQUEST, srcPort: port, dstPort: 80 });
      await turn();
      guest.rx.collect();
      guest.tx.collect();
      guest.post(1);
    }
    expect(vsock.device.stats).toMatchObject({ connections: 128, resets: 72 });
    listener.close();
    await turn();
    await turn();
    expect(await listener.next()).toEqual({ done: true, value: undefined });
  });

  it('is done when the machine ends', async () => {
    const { vsock } = await machine();
    const next = vsock.listen(80).next();
    vsock.finish('it ended');
    expect(await next).toEqual({ done: true, value: undefined });
    expect(await vsock.listen(81).next()).toEqual({ done: true, value: undefined });
  });
});

describe('the Unix socket', () => {
  const dial = async (path: string, allowHalfOpen = false): Promise<Socket> => {
    const socket = unixConnect({ path, allowHalfOpen });
    await once(socket, 'connect');
    return socket;
  };

  it('answers CONNECT with OK and the host’s port, then carries everything, what came with the line too', async () => {
    const path = join(folder, 'vm.sock');
    const { guest } = await machine(path);
    const socket = await dial(path, true);
    const text = textFrom(socket);
    socket.write('CONNECT 5000\nearly ');
    const [request] = await guest.next();
    expect(request).toMatchObject({ op: OP.REQUEST, dstPort: 5000 });
    const ports = back(request!);
    guest.send({ op: OP.RESPONSE, ...ports });
    socket.end('bird');
    const packets: Packet[] = [];
    while (packets.at(-1)?.op !== OP.SHUTDOWN) packets.push(...(await guest.next()));
    expect(packets.map(({ data }) => textOf(data)).join('')).toBe('early bird');
    expect(packets.at(-1)!.flags).toBe(SEND);
    guest.send({ op: OP.RW, ...ports, data: bytesOf('worm') });
    guest.send({ op: OP.SHUTDOWN, ...ports, flags: BOTH });
    expect(await text).toBe(`OK ${request!.srcPort}\nworm`);
  });

  it.each(['CONNECT 52\r\n', 'connect 52\n', 'CONNECT   52  \n'])(
    'understands %j, as Firecracker',
    async (line) => {
      const path = join(folder, 'vm.sock');
      const { guest } = await machine(path);
      const socket = await dial(path);
      for (const byte of line) socket.write(byte);
      expect(await guest.next()).toMatchObject([{ op: OP.REQUEST, dstPort: 52 }]);
      socket.destroy();
    },
  );

  it.each([
    'HELLO 52\n',
    'CONNECT\n',
    'CONNECT x\n',
    'CONNECT -1\n',
    'CONNECT 4294967296\n',
    'CONNECT 0\n',
    '\n',
    `CONNECT ${'0'.repeat(40)}52\n`,
    'x'.repeat(100),
  ])('closes the connection of who says %j', async (line) => {
    const path = join(folder, 'vm.sock');
    const { guest } = await machine(path);
    const socket = await dial(path);
    socket.on('error', () => {});
    socket.resume();
    socket.write(line);
    await once(socket, 'close');
    expect(await guest.received()).toEqual([]);
  });

  it('closes the connection when nobody in the guest listens, or a program leaves before it has said anything', async () => {
    const path = join(folder, 'vm.sock');
    const { guest } = await machine(path);
    const socket = await dial(path);
    const text = textFrom(socket);
    socket.write('CONNECT 5000\n');
    const [request] = await guest.next();
    guest.send({ op: OP.RST, ...back(request!) });
    expect(await text).toBe('');
    const silent = await dial(path);
    silent.resume();
    silent.end();
    await once(silent, 'close');
  });

  it('leads a guest’s connection to the socket of the port’s name, but not where a listener is', async () => {
    const path = join(folder, 'vm.sock');
    const { vsock, guest } = await machine(path);
    const sockets: Socket[] = [];
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.push(socket);
      socket.on('data', (chunk) => socket.write(chunk.toString().toUpperCase()));
      socket.on('end', () => socket.end('!'));
    });
    await new Promise<void>((resolve) => server.listen(`${path}_80`, resolve));
    try {
      guest.send({ op: OP.REQUEST, srcPort: 7, dstPort: 80 });
      expect(await guest.next()).toMatchObject([{ op: OP.RESPONSE, srcPort: 80, dstPort: 7 }]);
      guest.send({ op: OP.RW, srcPort: 7, dstPort: 80, data: bytesOf('loud') });
      guest.send({ op: OP.SHUTDOWN, srcPort: 7, dstPort: 80, flags: SEND });
      const packets: Packet[] = [];
      while (packets.at(-1)?.op !== OP.SHUTDOWN) packets.push(...(await guest.next()));
      expect(packets.map(({ data }) => textOf(data)).join('')).toBe('LOUD!');
      using _listener = {
        [Symbol.dispose]: (
          (listener) => () =>
            listener.close()
        )(vsock.listen(80)),
      };
      guest.send({ op: OP.REQUEST, srcPort: 8, dstPort: 80 });
      await guest.next();
      expect(sockets).toHaveLength(1);
    } finally {
      server.close();
    }
  });

  it('refuses a guest where no program listens', async () => {
    const { guest } = await machine(join(folder, 'vm.sock'));
    guest.send({ op: OP.REQUEST, srcPort: 7, dstPort: 81 });
    expect(await guest.next()).toMatchObject([{ op: OP.RST, srcPort: 81, dstPort: 7 }]);
  });

  it('is gone with the machine, and so are its connections', async () => {
    const path = join(folder, 'vm.sock');
    const { guest } = await machine(path);
    const socket = await dial(path);
    socket.on('error', () => {});
    socket.resume();
    const closed = once(socket, 'close');
    await guest.plugged.transport.close();
    await closed;
    expect(existsSync(path)).toBe(false);
  });

  it('is refused where it cannot be', async () => {
    const path = join(folder, 'vm.sock');
    await machine(path);
    const refused = async (at: string, says: RegExp): Promise<void> => {
      await expect(GuestVsock.open({ cid: GUEST, path: at })).rejects.toMatchObject({
        code: 'ERR_FILE',
        message: says,
      });
    };
    await refused(path, /exists already: .*vm\.sock/);
    writeFileSync(join(folder, 'file'), '');
    await refused(join(folder, 'file'), /exists already, and is no socket/);
    await refused(join(folder, 'nowhere/vm.sock'), /no such folder/);
    mkdirSync(join(folder, 'closed'));
    chmodSync(join(folder, 'closed'), 0o500);
    if (process.getuid?.() !== 0) await refused(join(folder, 'closed/vm.sock'), /not writable/);
    else await refused('/proc/vm.sock', /cannot make a socket|not writable/);
  });
});
