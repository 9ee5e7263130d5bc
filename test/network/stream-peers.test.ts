/** The stream of frames against those who defined it: QEMU's `-netdev stream`, with its own user network behind it, and passt. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { StreamNetwork } from '../../src/backends/stream-network.js';
import { hasProgram } from '../support/has-program.js';
import { scratch } from '../support/scratch.js';

const GUEST = [2, 0, 0, 0, 0, 1];
const DISCOVER_ID = 0x0102_0304;

const running: ChildProcess[] = [];
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
});

/** Starts a peer that listens at `path`. @returns false when it ends instead: passt does on a host without a network */
async function peer(path: string, program: string, args: readonly string[]): Promise<boolean> {
  const child = spawn(program, args, { stdio: 'ignore' });
  running.push(child);
  for (const end = performance.now() + 15_000; !existsSync(path); ) {
    if (performance.now() > end) throw new Error(`${program} does not listen`);
    if (child.exitCode !== null) return false;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return true;
}

/** Asks for an address by DHCP. @returns the offer, a whole frame */
async function offered(network: StreamNetwork): Promise<Buffer> {
  const frames: Buffer[] = [];
  network.onReceive((frame) => frames.push(Buffer.from(frame)) > 0);
  const isOffer = (frame: Buffer): boolean =>
    frame.length > 290 && frame.readUInt16BE(34) === 67 && frame.readUInt32BE(46) === DISCOVER_ID;
  for (const end = performance.now() + 10_000; performance.now() < end; ) {
    network.send(discover());
    await new Promise((resolve) => setTimeout(resolve, 200));
    const offer = frames.find(isOffer);
    if (offer) return offer;
  }
  throw new Error(`no offer among ${frames.length} frames`);
}

/** RFC 2131, from a card that has no address yet. */
function discover(): Buffer {
  const frame = Buffer.alloc(326);
  frame.fill(0xff, 0, 6);
  frame.set([...GUEST, 8, 0], 6);
  frame.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255], 14);
  frame.writeUInt16BE(frame.length - 14, 16);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += frame.readUInt16BE(at);
  frame.writeUInt16BE(~((sum & 0xffff) + (sum >> 16)) & 0xffff, 24);
  frame.writeUInt16BE(68, 34);
  frame.writeUInt16BE(67, 36);
  frame.writeUInt16BE(frame.length - 34, 38);
  frame.set([1, 1, 6, 0], 42);
  frame.writeUInt32BE(DISCOVER_ID, 46);
  frame.set(GUEST, 70);
  frame.set([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255], 278);
  return frame;
}

describe('a stream of frames is understood', () => {
  it.skipIf(!hasProgram('qemu-system-x86_64'))(
    'by QEMU',
    async () => {
      using folder = scratch();
      const path = folder.path('socket');
      const netdevs = [
        `stream,id=s,server=on,addr.type=unix,addr.path=${path}`,
        'user,id=u',
        'hubport,id=h1,hubid=0,netdev=s',
        'hubport,id=h2,hubid=0,netdev=u',
      ];
      const args = ['-nodefaults', '-nographic', '-machine', 'none'];
      const all = [...args, ...netdevs.flatMap((one) => ['-netdev', one])];
      expect(await peer(path, 'qemu-system-x86_64', all)).toBe(true);
      const notices: string[] = [];
      const network = await StreamNetwork.open(path, { onNotice: ({ message }) => notices.push(message) });
      const offer = await offered(network);
      expect([...offer.subarray(58, 62)]).toEqual([10, 0, 2, 15]);
      expect(notices).toEqual([]);
      await network.close();
    },
    60_000,
  );

  it.skipIf(!hasProgram('passt'))(
    'by passt',
    async ({ skip }) => {
      using folder = scratch();
      const path = folder.path('socket');
      const args = ['--socket', path, '--foreground', '--runas', String(process.getuid!())];
      if (!(await peer(path, 'passt', args))) skip('passt finds no network on this host');
      const network = await StreamNetwork.open(path);
      const offer = await offered(network);
      expect([...offer.subarray(6, 12)]).not.toEqual(GUEST);
      expect(offer.subarray(58, 62).some((byte) => byte !== 0)).toBe(true);
      await network.close();
    },
    60_000,
  );
});
