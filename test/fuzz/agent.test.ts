/**
 * Both ends of the agent's protocol against peers that say anything: the agent itself, watched by sanitizers, gets requests that are right,
 * wrong, cut and mixed up; its client gets such answers. Nobody crashes, hangs, or leaves something behind.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent } from '../../src/agent/agent.js';
import { encodeFrame, FrameDecoder, text, u8, u16, u32, u64 } from '../../src/agent/frames.js';
import { ANSWER, DATA, MAX_PAYLOAD, REQUEST, SPAWN_PTY, VERSION } from '../../src/agent/protocol.js';
import { VmmError } from '../../src/base/errors.js';
import { FUZZ_LIMIT, fuzz } from '../support/fuzz.js';
import { HostAgent } from '../support/host-agent.js';
import type { Random } from '../support/random.js';

/** What harmless.c stands in front of. */
const WRAPPED = [
  ...['open', 'mkdir', 'rmdir', 'unlink', 'rename', 'clock_settime', 'mount', 'reboot', 'sync', 'execvp'],
  ...['connect', 'kill', 'message'],
].map((name) => `-Wl,--wrap=${name}`);
const HARMLESS = [join(import.meta.dirname, '../support/harmless.c'), ...WRAPPED];

const PATHS = ['/', '/proc/self/maps', '/dev/zero', '/no/such', '', '/tmp', '/dev/full', 'x'.repeat(5000)];
const HELLO = encodeFrame(REQUEST.HELLO, u16(VERSION), u16(VERSION));
const REQUESTS = Object.values(REQUEST);
const ANSWERS = Object.values(ANSWER);

/** Requests that belong together: one that begins something, and what may follow. */
const STORIES: readonly (readonly number[])[] = [
  [REQUEST.SPAWN, REQUEST.STDIN, REQUEST.STDIN_END, REQUEST.SIGNAL, REQUEST.RESIZE, REQUEST.CREDIT],
  [REQUEST.WRITE, DATA, DATA, REQUEST.DATA_END, REQUEST.STAT],
  [REQUEST.READ, REQUEST.LIST, REQUEST.PROBE, REQUEST.SPAWN],
  [...REQUESTS, DATA],
];
/** Begins a program for sure. */
const RUN = encodeFrame(
  REQUEST.SPAWN,
  ...[u8(0), u16(0), u16(0), text(''), text('/'), u32(1), text('cat'), u32(1), text('PATH=/usr/bin:/bin')],
);

/** A request as it should be. */
function rightRequest(random: Random, type: number): Uint8Array[] {
  const path = (): Buffer => text(random.pick(PATHS));
  switch (type) {
    case REQUEST.HELLO:
      return [u16(random.below(3)), u16(random.below(3))];
    case REQUEST.SPAWN: {
      const user = text(random.pick(['', '', '', '65534', '65534:65534', 'nobody', 'none']));
      const words = Array.from({ length: random.below(4) }, () => text('word'));
      const variables = Array.from({ length: random.below(4) }, () => text('PATH=/usr/bin:/bin'));
      const size = [u8(random.below(4) === 0 ? SPAWN_PTY : 0), u16(24), u16(80)];
      return [...size, user, path(), u32(words.length), ...words, u32(variables.length), ...variables];
    }
    case REQUEST.STDIN:
    case DATA:
      return [random.bytes(random.below(random.pick([10, 1000, MAX_PAYLOAD + 1])))];
    case REQUEST.SIGNAL:
      return [u8(random.pick([0, 2, 9, 15, 19, 18, 64, 65, 255])), u8(random.below(2))];
    case REQUEST.RESIZE:
      return [u16(random.below(65536)), u16(random.below(65536))];
    case REQUEST.CREDIT:
      return [u8(random.below(3)), u32(random.pick([0, 100, 100_000, 2 ** 32 - 1]))];
    case REQUEST.STAT:
      return [u8(random.below(2)), path()];
    case REQUEST.MKDIR:
    case REQUEST.WRITE:
      return [u32(random.below(0o10000)), path()];
    case REQUEST.RENAME:
      return [path(), path()];
    case REQUEST.LIST:
    case REQUEST.REMOVE:
    case REQUEST.READ:
      return [path()];
    case REQUEST.PROBE:
    case REQUEST.CONNECT:
      return [u16(random.below(65536))];
    case REQUEST.CLOCK:
      return [u64(BigInt(random.next()) << 32n), u32(random.next())];
    default:
      return [];
  }
}

/** Mostly a frame; sometimes with a wrong length, a wrong end, wrong bytes. */
function strangeFrame(random: Random, type: number, parts: readonly Uint8Array[]): Buffer {
  const payload = Buffer.concat(parts).subarray(0, MAX_PAYLOAD);
  const how = random.below(12);
  if (how === 0) return encodeFrame(type, payload.subarray(0, random.below(payload.length + 1)));
  if (how === 1) return encodeFrame(type, random.bytes(random.below(64)));
  const frame = encodeFrame(type, payload);
  if (how === 2) frame[random.below(frame.length)] = random.below(256);
  if (how === 3) return frame.subarray(0, random.below(frame.length + 1));
  if (how === 4 && random.below(4) === 0) frame.writeUInt32LE(random.next());
  return frame;
}

describe('the agent', () => {
  let host: HostAgent;
  let echo: Server;
  const peers = new Set<Socket>();
  beforeAll(async () => {
    echo = createServer((socket) => {
      peers.add(socket);
      socket.on('error', () => {}).pipe(socket);
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => echo.once('listening', resolve));
    process.env['HARMLESS_PORT'] = `${(echo.address() as AddressInfo).port}`;
    host = new HostAgent(HARMLESS);
    await host.agent.exec(['anything'], {}); // what it opens once is open from now on
  });
  afterAll(() => {
    host[Symbol.dispose]();
    for (const peer of peers) peer.destroy();
    echo.close();
  });
  const has = (what: string): number => readdirSync(`/proc/${host.process.pid}/${what}`).length;
  const children = (): string =>
    readFileSync(`/proc/${host.process.pid}/task/${host.process.pid}/children`, 'latin1').trim();

  /** The agent takes connections one after the other. */
  async function dial(): Promise<Socket> {
    for (;;) {
      try {
        return await host.dial();
      } catch (error) {
        if (!String(error).includes('EAGAIN')) throw error;
        await sleep(5);
      }
    }
  }

  /** @returns when the agent has hung up, or has said nothing more for a moment */
  async function converse(random: Random): Promise<void> {
    const socket = await dial();
    const decoder = new FrameDecoder();
    let carries = false;
    let wrong: unknown;
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      // From a connection's DONE on these are its bytes.
      if (carries || wrong) return;
      try {
        for (const { type } of decoder.push(chunk))
          if (type !== DATA && !ANSWERS.includes(type as never)) throw new Error(`answer ${type}`);
      } catch (error) {
        wrong = error;
      }
    });
    const closed = new Promise((resolve) => socket.once('close', resolve));
    if (random.below(20) > 0) socket.write(HELLO);
    const story = random.pick(STORIES);
    if (story[0] === REQUEST.SPAWN && random.below(6) === 0) socket.write(RUN);
    for (let count = 1 + random.below(12); count > 0; count -= 1) {
      const type = random.below(10) > 0 ? random.pick(story) : random.below(256);
      if (type === REQUEST.CONNECT) carries = true;
      const frame = strangeFrame(random, type, rightRequest(random, type));
      const cut = random.below(frame.length + 1);
      socket.write(frame.subarray(0, cut));
      if (random.below(8) === 0) await new Promise(setImmediate);
      socket.write(frame.subarray(cut));
    }
    // Some read no answer, some go without a word, some wait.
    if (random.below(3) === 0) socket.end();
    else if (random.below(2) === 0) socket.destroy();
    await Promise.race([closed, sleep(2)]);
    socket.destroy();
    if (wrong) throw wrong;
  }

  it(
    'goes on and keeps nothing, whatever it is asked',
    async () => {
      const before = has('fd');
      // Some 50 requests each.
      await fuzz({ rounds: 400, seed: 0xa9e47, cumulative: true }, async (random) => {
        await Promise.all(Array.from({ length: 8 }, () => converse(random)));
        expect(host.process.exitCode ?? host.process.signalCode).toBeNull();
      });
      for (let tries = 0; tries < 500 && (children() !== '' || has('fd') > before); tries += 1)
        await sleep(20);
      expect([children(), has('fd')]).toEqual(['', before]);
      expect((await host.agent.exec(['anything'], { stdin: 'cat' })).stdout).toBe('cat');
    },
    FUZZ_LIMIT,
  );
});

describe('its client', () => {
  /** An agent that says this, in such pieces, and hangs up, with or without an error. */
  function saying(bytes: Buffer, random: Random): Duplex {
    let at = 0;
    return new Duplex({
      read() {
        const end = Math.min(bytes.length, at + 1 + random.below(random.pick([3, 100, 100_000])));
        const part = bytes.subarray(at, end);
        at = end;
        setImmediate(() => {
          if (part.length > 0) this.push(part);
          else if (random.below(3) === 0) this.destroy(new Error('broken'));
          else this.push(null);
        });
      },
      write: (_chunk, _encoding, done) => done(),
    });
  }

  const answer = (random: Random): Buffer => {
    const type = random.below(8) > 0 ? random.pick([...ANSWERS, DATA]) : random.below(256);
    const parts = {
      [ANSWER.STARTED]: [u32(random.next())],
      [ANSWER.EXIT]: [u8(random.below(2) * random.below(256)), u8(random.below(256))],
      [ANSWER.STDIN_CREDIT]: [u32(random.next())],
      [ANSWER.ERROR]: [u32(random.pick([2, 13, 17, 28, 255, random.next()]))],
      [ANSWER.STATUS]: [random.bytes(56)],
      [ANSWER.NAMES]: [u8(8), text('name'), u8(4), text('..')],
      [ANSWER.WELCOME]: [u16(random.below(3))],
      [ANSWER.DONE]: [],
    }[type as number];
    return strangeFrame(random, type, parts ?? [random.bytes(random.below(200))]);
  };

  const CALLS: readonly ((agent: Agent) => Promise<unknown>)[] = [
    (agent) => agent.exec(['cat'], { stdin: 'x'.repeat(100_000), maxBuffer: 1000, timeout: 5000 }),
    async (agent) => {
      await using program = await agent.spawn(['cat'], { pty: true });
      program.stdout.resume();
      program.stderr.resume();
      program.stdin.write('x');
      program.resize({ rows: 1, columns: 2 });
      program.kill();
      return Promise.allSettled([program.pid, program.exited]);
    },
    (agent) => agent.files.readFile('/f'),
    (agent) => agent.files.readdir('/'),
    (agent) => agent.files.stat('/f'),
    (agent) => agent.files.mkdir('/a/b', { recursive: true }),
    (agent) => agent.files.writeFile('/f', Buffer.alloc(100_000)),
    (agent) => agent.files.rename('/a', '/b'),
    (agent) => agent.ports.listening(80, { timeout: 5000 }),
    (agent) => agent.ready(),
    (agent) => agent.askToPowerOff(Promise.resolve(), 1000, true),
  ];

  it(
    'settles, with a result or an error of ours, whatever it is told',
    async () => {
      const outcomes = new Map<string, number>();
      await fuzz({ rounds: 20_000, seed: 0xc11e47 }, async (random) => {
        const welcome = random.below(10) > 0 ? [encodeFrame(ANSWER.WELCOME, u16(VERSION))] : [];
        const answers = Array.from({ length: random.below(8) }, () => answer(random));
        const agent = new Agent(async () => saying(Buffer.concat([...welcome, ...answers]), random), 10_000);
        const outcome = await random
          .pick(CALLS)(agent)
          .then(
            () => 'done',
            (error: unknown) => {
              if (!(error instanceof VmmError)) throw error;
              return error.code;
            },
          );
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      });
      for (const outcome of ['done', 'ERR_AGENT', 'ERR_GUEST_CALL'])
        expect([outcome, outcomes.get(outcome) ?? 0]).toEqual([
          outcome,
          expect.toSatisfy((n: number) => n > 0),
        ]);
    },
    FUZZ_LIMIT,
  );

  it('is told the same frames however they are cut, and never more than were sent', async () => {
    await fuzz({ rounds: 5000, seed: 0xf4a3e }, (random) => {
      const frames = Array.from({ length: random.below(6) }, () =>
        encodeFrame(random.below(256), random.bytes(random.below(random.pick([1, 50, 3000])))),
      );
      const bytes = Buffer.concat(frames);
      const decoder = new FrameDecoder();
      const found: Buffer[] = [];
      for (let at = 0; at < bytes.length; ) {
        const end = at + 1 + random.below(random.pick([2, 700, 10_000]));
        for (const { type, payload } of decoder.push(bytes.subarray(at, end)))
          found.push(encodeFrame(type, payload));
        at = end;
      }
      expect(Buffer.concat(found).equals(bytes)).toBe(true);
    });
    for (const size of [0, MAX_PAYLOAD + 2, 2 ** 32 - 1])
      expect(() => new FrameDecoder().push(Buffer.concat([u32(size), u8(1)]))).toThrow(
        `a frame of ${size} bytes`,
      );
  });
});
