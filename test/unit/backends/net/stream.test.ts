/** Frames behind their lengths over a Unix socket: by the contract, and against peers that cut, stall, lie and leave. */
import { existsSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { afterAll, describe, expect, it } from 'vitest';
import { StreamNetwork } from '../../../../src/backends/stream-network.js';
import { FrameLink } from '../../../../src/devices/net/frame-link.js';
import { describeNetwork } from '../../../support/net-contract.js';
import { ethernet } from '../../../support/net-driver.js';
import { turn } from '../../../support/plug.js';
import { Random } from '../../../support/random.js';
import { scratch } from '../../../support/scratch.js';

const folder = scratch();
afterAll(() => folder[Symbol.dispose]());
let sockets = 0;
const newPath = (): string => folder.path(`socket${(sockets += 1)}`);

describeNetwork('a Unix socket between two cards', {
  async make() {
    const path = newPath();
    const one = await StreamNetwork.open(path, { listen: true });
    const other = await StreamNetwork.open(path);
    await until(() => one.connected);
    return [new FrameLink(one), new FrameLink(other)];
  },
});

async function until(ready: () => boolean): Promise<void> {
  for (const end = performance.now() + 5000; !ready(); await turn()) {
    if (performance.now() > end) throw new Error('it does not happen');
  }
}

const message = (frame: Uint8Array): Buffer => {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(frame.length);
  return Buffer.concat([prefix, frame]);
};

/** A listening network, and a peer that speaks bytes. */
async function listening() {
  const path = newPath();
  const notices: string[] = [];
  const network = await StreamNetwork.open(path, {
    listen: true,
    onNotice: ({ message }) => notices.push(message),
  });
  const received: Uint8Array[] = [];
  let open = true;
  network.onReceive((frame) => open && received.push(Uint8Array.from(frame)) > 0);
  const peer = async (): Promise<Socket> => {
    const socket = connect(path);
    await new Promise((resolve) => socket.once('connect', resolve));
    return socket;
  };
  return { path, network, notices, received, peer, setOpen: (value: boolean) => void (open = value) };
}

describe('a stream of frames', () => {
  it('may be cut anywhere', async () => {
    const { network, received, peer } = await listening();
    const socket = await peer();
    const random = Random.fromEnvironment(11);
    const frames = Array.from({ length: 60 }, (_, index) =>
      ethernet(14 + random.below(3000), { fill: index }),
    );
    const all = Buffer.concat(frames.map(message));
    for (let at = 0; at < all.length; ) {
      const length = random.below(4) === 0 ? 1 : 1 + random.below(5000);
      socket.write(all.subarray(at, at + length));
      at += length;
      if (random.below(3) === 0) await turn();
    }
    await until(() => received.length === 60);
    expect(received).toEqual(frames);
    socket.destroy();
    await network.close();
  });

  it('is sent behind big-endian lengths', async () => {
    const { network, peer } = await listening();
    const socket = await peer();
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    await until(() => network.connected);
    network.send(ethernet(300));
    network.send(ethernet(60));
    await until(() => Buffer.concat(chunks).length === 368);
    expect(Buffer.concat(chunks)).toEqual(Buffer.concat([message(ethernet(300)), message(ethernet(60))]));
    await network.close();
  });

  it('makes the peer wait while the guest has no room, and keeps little', async () => {
    const { network, received, peer, setOpen } = await listening();
    setOpen(false);
    const socket = await peer();
    const frames = 4000;
    let blocked = false;
    for (let index = 0; index < frames; index += 1)
      blocked = !socket.write(message(ethernet(1500, { fill: index }))) || blocked;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect([blocked, received.length]).toEqual([true, 0]);
    expect(socket.writableLength).toBeGreaterThan(2 ** 20);
    setOpen(true);
    network.room();
    await until(() => received.length === frames);
    expect(received.every((frame, index) => frame[20] === ((index + 20) & 0xff))).toBe(true);
    socket.destroy();
    await network.close();
  });

  it('makes the guest wait while the peer takes nothing, and goes on when it does', async () => {
    const { network, peer } = await listening();
    const socket = await peer();
    socket.pause();
    await until(() => network.connected);
    let drained = 0;
    network.onDrain(() => void (drained += 1));
    let sent = 0;
    while (network.send(ethernet(1500))) sent += 1;
    expect(sent).toBeLessThan(2000);
    for (let index = 0; index < 20; index += 1) await turn();
    expect(drained).toBe(0);
    socket.resume();
    await until(() => drained === 1);
    expect(network.send(ethernet(1500))).toBe(true);
    await network.close();
  });

  it.each([0, 13, 65554, 0xffff_ffff])(
    'of a length of %i ends the connection, and says why',
    async (length) => {
      const { network, received, notices, peer } = await listening();
      const socket = await peer();
      const closed = new Promise((resolve) => socket.once('close', resolve));
      const prefix = Buffer.alloc(4);
      prefix.writeUInt32BE(length);
      socket.write(Buffer.concat([message(ethernet(60)), prefix, Buffer.alloc(20)]));
      socket.resume();
      await closed;
      expect(received).toHaveLength(1);
      expect(notices).toMatchObject([expect.stringContaining('does not send frames behind their length')]);
      await network.close();
    },
  );

  it('may lose its peer and get another; only one at a time', async () => {
    const { network, received, notices, peer } = await listening();
    const first = await peer();
    await until(() => network.connected);
    const second = await peer();
    await new Promise((resolve) => second.resume().once('close', resolve));
    first.write(message(ethernet(60)).subarray(0, 20));
    await turn();
    first.destroy();
    await until(() => !network.connected);
    expect(notices).toMatchObject([expect.stringContaining('closed the connection')]);
    expect(network.send(ethernet(60))).toBe(true);
    const third = await peer();
    third.write(message(ethernet(70)));
    await until(() => received.length === 1);
    expect(received[0]).toEqual(ethernet(70));
    await network.close();
  });

  it('leaves no socket behind', async () => {
    const { path, network } = await listening();
    expect(existsSync(path)).toBe(true);
    await network.close();
    expect(existsSync(path)).toBe(false);
  });

  it('connects to whoever listens', async () => {
    const path = newPath();
    const chunks: Buffer[] = [];
    const server = createServer((socket) => socket.on('data', (chunk) => chunks.push(chunk)));
    await new Promise<void>((resolve) => void server.listen(path, resolve));
    const network = await StreamNetwork.open(path);
    network.send(ethernet(60));
    await until(() => Buffer.concat(chunks).length === 64);
    await network.close();
    server.close();
  });

  it.each([
    {
      what: 'a socket that is not there',
      path: () => folder.path('absent'),
      listen: false,
      says: 'no such socket',
    },
    {
      what: 'a file',
      path: () => {
        writeFileSync(folder.path('file'), '');
        return folder.path('file');
      },
      listen: false,
      says: /nobody listens there|is no socket/,
    },
    {
      what: 'a path that is too long',
      path: () => folder.path('x'.repeat(200)),
      listen: false,
      says: /absent|no/,
    },
    {
      what: 'to listen where something is',
      path: () => {
        writeFileSync(folder.path('taken'), '');
        return folder.path('taken');
      },
      listen: true,
      says: 'exists already',
    },
    { what: 'to listen in no folder', path: () => folder.path('no/such'), listen: true, says: /no/ },
  ])('refuses $what', async ({ path, listen, says }) => {
    await expect(StreamNetwork.open(path(), { listen })).rejects.toMatchObject({
      code: 'ERR_FILE',
      message: expect.stringMatching(says),
    });
  });
});
