/**
 * Frames through two cards without guests: driver → tap0 → bridge → tap1 → driver, in the network namespace that `unshare -n` gives.
 * Prints µs per frame, a sample for each round: `{ "large": […], "small": […] }`.
 *   unshare -n node --import tsx test/bench/inside/tap-frames.ts ROUNDS
 * Runs on: main.
 */
import { execFileSync } from 'node:child_process';
import { TapNetwork } from '../../../src/backends/tap-network.js';
import { NetDevice } from '../../../src/devices/net/device.js';
import { GuestRam } from '../../support/guest-ram.js';
import { ethernet, GUEST_MAC, netHeader, OTHER_MAC } from '../../support/net-driver.js';
import { plug, turn } from '../../support/plug.js';
import { tcpFrame } from '../../support/tcp-frame.js';

const ip = (...args: readonly string[]): void => void execFileSync('ip', args, { stdio: 'pipe' });
const RAM = 2 ** 24;
/** Frames made available with one kick. */
const BATCH = 16;
/** Bytes of a buffer to receive into. */
const ROOM = 16_384;

const card = (tap: string, mac: Uint8Array) =>
  plug(new NetDevice(tap, { backend: TapNetwork.open(tap), mac }), { ram: new GuestRam(RAM) });
const sender = card('tap0', GUEST_MAC);
const receiver = card('tap1', OTHER_MAC);
ip('link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '0');
for (const tap of ['tap0', 'tap1']) ip('link', 'set', tap, 'master', 'br0', 'up');
ip('link', 'set', 'br0', 'up');
await new Promise((resolve) => setTimeout(resolve, 500));
sender.driver.start();
receiver.driver.start();
const into = receiver.driver.queue(0);
for (let count = 0; count < 250; count += 1) {
  into.add([{ at: receiver.ram.alloc(ROOM), length: ROOM, write: true }]);
}
into.kick();

/** @returns µs per frame. @throws Error when one is lost */
async function send(message: Uint8Array, count: number): Promise<number> {
  const queue = sender.driver.queue(1);
  const mark = sender.ram.mark();
  const at = sender.ram.put(message);
  const { stats } = receiver.device;
  const target = stats.received + count;
  const repost = (): void => {
    for (const { posted } of into.collect()) into.add(posted!.pieces);
    into.kick();
  };
  const start = performance.now();
  for (let sent = 0; sent < count; ) {
    for (let batch = 0; batch < BATCH && sent < count; batch += 1, sent += 1)
      queue.add([{ at, length: message.length }]);
    queue.kick();
    do await turn();
    while (queue.collect().length === 0);
    repost();
  }
  for (const end = start + 60_000; stats.received < target; repost()) {
    if (performance.now() > end) throw new Error(`${target - stats.received} of ${count} frames were lost`);
    await turn();
  }
  const took = performance.now() - start;
  sender.ram.release(mark);
  return (took * 1000) / count;
}

const { frame, header } = tcpFrame({ data: new Uint8Array(65_000) });
const { hdrLen, csumStart, csumOffset } = header;
const large = Buffer.concat([netHeader(1, 1, hdrLen, 1448, csumStart, csumOffset), frame]);
const small = Buffer.concat([netHeader(), ethernet(1514, { to: OTHER_MAC, from: GUEST_MAC })]);
const rounds = Number(process.argv[2] ?? 3);
const samples = { large: [] as number[], small: [] as number[] };
await send(large, 2000);
for (let round = 0; round < rounds; round += 1) {
  samples.large.push(await send(large, 4000));
  samples.small.push(await send(small, 10_000));
}
process.stdout.write(`${JSON.stringify(samples)}\n`);
process.exit(0);
