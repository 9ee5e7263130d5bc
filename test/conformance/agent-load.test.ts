/**
 * Much of everything for the agent: programs by the thousand, output by the hundred megabytes, odd names, ends at every moment, a fork bomb.
 * The agent runs on this host.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent } from '../../src/agent/agent.js';
import { HostAgent } from '../support/host-agent.js';

/** `TYPEVISOR_TEST_FULL=1` does all of it: a gigabyte of files. */
const COPIED = process.env['TYPEVISOR_TEST_FULL'] ? 1 << 30 : 100_000_000;

let host: HostAgent;
let agent: Agent;
beforeAll(() => {
  host = new HostAgent();
  ({ agent } = host);
});
afterAll(() => host[Symbol.dispose]());

const descriptors = (): number => readdirSync(`/proc/${host.process.pid}/fd`).length;
/** What the agent has left of them once everything has ended. */
async function children(): Promise<string> {
  const list = (): string =>
    readFileSync(`/proc/${host.process.pid}/task/${host.process.pid}/children`, 'latin1').trim();
  for (let tries = 0; tries < 250 && list() !== ''; tries += 1) await sleep(20);
  return list();
}
/** Processes of a user. */
const ownedBy = (uid: number): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return new RegExp(`^Uid:\\s+${uid}\\s`, 'm').test(readFileSync(`/proc/${pid}/status`, 'latin1'));
      } catch {
        return false;
      }
    });

describe('programs', () => {
  it('a thousand come and go, fifty at once, and leave nothing', async () => {
    await agent.exec('true', {}); // what the agent opens once is open from now on
    const before = descriptors();
    for (let round = 0; round < 20; round += 1) {
      const results = await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          agent.exec(['sh', '-c', `echo ${index}; exit ${index}`], {}),
        ),
      );
      expect(results.map(({ exitCode }) => exitCode)).toEqual(results.map((_, index) => index));
      expect(results.map(({ stdout }) => stdout)).toEqual(results.map((_, index) => `${index}\n`));
    }
    expect(await children()).toBe('');
    for (let tries = 0; tries < 100 && descriptors() > before; tries += 1) await sleep(20);
    expect(descriptors()).toBeLessThanOrEqual(before);
  });

  it('a hundred megabytes go in and come out, equal, and wait for whoever reads', async () => {
    const size = 100_000_000;
    const program = await agent.spawn(['cat'], {});
    const chunk = randomBytes(1_000_000);
    const [sent, received] = [createHash('sha256'), createHash('sha256')];
    const feed = (async () => {
      for (let at = 0; at < size; at += chunk.length) {
        sent.update(chunk);
        if (!program.stdin.write(chunk)) await new Promise((resolve) => program.stdin.once('drain', resolve));
      }
      program.stdin.end();
    })();
    let length = 0;
    for await (const part of program.stdout) {
      received.update(part as Buffer);
      length += (part as Buffer).length;
    }
    await feed;
    expect(await program.exited).toEqual({ exitCode: 0, signal: null });
    expect(length).toBe(size);
    expect(received.digest('hex')).toBe(sent.digest('hex'));
  });

  it('are ended at every moment, and nothing is left', async () => {
    const script = 'for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.01; done; sleep 1000';
    for (let delay = 0; delay < 60; delay += 3) {
      const abort = new AbortController();
      const running = agent.exec(script, { signal: abort.signal, stdin: 'x'.repeat(100_000) });
      const outcome = running.then(
        () => 'ended',
        (error: Error) => error.message,
      );
      if (delay > 0) await sleep(delay - 1);
      abort.abort(new Error(`after ${delay}`));
      expect(await outcome).toBe(`after ${delay}`);
    }
    expect(await children()).toBe('');
  });

  it('an abort while the agent is not there yet ends the wait', async () => {
    const abort = new AbortController();
    let asked = 0;
    const absent = new Agent((_port, { signal }) => {
      asked += 1;
      return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
    });
    const waits = [
      absent.exec('true', { signal: abort.signal }),
      absent.spawn(['true'], { signal: abort.signal }),
      absent.ready({ signal: abort.signal }),
      absent.ports.listening(80, { signal: abort.signal }),
    ];
    const outcomes = Promise.allSettled(waits);
    abort.abort(new Error('enough'));
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { message: 'enough' } });
    expect(asked).toBe(waits.length);
  });
});

describe('programs that try to get away', () => {
  // Limits count a user's processes: root's have none.
  it.skipIf(process.getuid?.() !== 0)('by multiplying, within their limit, all end at once', async () => {
    const uid = 200_000 + process.pid; // nobody's, not even another run's
    const bomb =
      'ulimit -p 100 2> /dev/null || ulimit -u 100; b() { sleep 1000 & b | b; }; b 2> /dev/null; sleep 1000';
    const abort = new AbortController();
    const running = agent.exec(bomb, { user: `${uid}`, signal: abort.signal });
    // Shells that can no longer fork end, so the limit itself may never be seen.
    while (ownedBy(uid).length < 30) await sleep(10);
    abort.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    for (let tries = 0; tries < 250 && ownedBy(uid).length > 0; tries += 1) await sleep(20);
    expect(ownedBy(uid)).toEqual([]);
    expect(await agent.exec('echo on', {})).toMatchObject({ stdout: 'on\n' });
  });
});

describe('files', () => {
  const names = [
    ' ',
    '-rf',
    '...',
    '*',
    '\\',
    "'",
    '"',
    '$HOME',
    '%s%n',
    '\n',
    '\t\r\x1b[2J',
    'ü',
    '🦀',
    'x'.repeat(255),
  ];

  it.each(names)('may be called %j', async (name) => {
    const path = join(host.folder, 'odd', name);
    await agent.files.mkdir(join(host.folder, 'odd'), { recursive: true });
    await agent.files.writeFile(path, name);
    expect(readFileSync(path, 'utf8')).toBe(name);
    expect(await agent.files.readFile(path, 'utf8')).toBe(name);
    expect(await agent.files.readdir(join(host.folder, 'odd'))).toContain(name);
    expect((await agent.exec(['cat', path], {})).stdout).toBe(name);
    await agent.files.rename(path, `${join(host.folder, 'odd')}/renamed`);
    await agent.files.rm(`${join(host.folder, 'odd')}/renamed`);
  });

  it('a name with a NUL, or longer than any, is refused', async () => {
    await expect(agent.files.stat('/tmp/a\0b')).rejects.toMatchObject({ code: 'ERR_VMM_CONFIG' });
    await expect(agent.files.stat(`/${'x'.repeat(256)}`)).rejects.toMatchObject({
      errnoName: 'ENAMETOOLONG',
    });
    await expect(agent.files.stat('x/'.repeat(4096))).rejects.toMatchObject({ errnoName: 'ENAMETOOLONG' });
  });

  it(`${COPIED} bytes go in and out, equal`, async () => {
    const path = join(host.folder, 'large');
    const chunk = randomBytes(1 << 20);
    const [sent, received] = [createHash('sha256'), createHash('sha256')];
    await agent.files.writeFile(
      path,
      (async function* () {
        for (let at = 0; at < COPIED; at += chunk.length) {
          sent.update(chunk);
          yield chunk;
        }
      })(),
    );
    for await (const part of agent.files.createReadStream(path)) received.update(part as Buffer);
    expect(received.digest('hex')).toBe(sent.digest('hex'));
    await agent.files.rm(path);
  });
});
