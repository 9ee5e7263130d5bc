import { describe, expect, it, onTestFinished } from 'vitest';
import { Fd } from '../../../src/host/fd.js';
import { eventfd, signalEventfd } from '../../../src/host/libc.js';
import { type Poll, pollEventfd, pollReadable } from '../../../src/host/poll.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Long enough for whatever is due: descriptors are looked at in every turn. */
async function turns(): Promise<void> {
  for (let count = 0; count < 3; count += 1) await turn();
}

function setUp(watch: (fd: number, callback: () => void) => Poll): {
  fd: number;
  poll: Poll;
  calls: () => number;
  onCall: (callback: () => void) => void;
} {
  const fd = new Fd(eventfd(), 'test');
  let calls = 0;
  let more = (): void => {};
  const poll = watch(fd.number, () => {
    calls += 1;
    more();
  });
  onTestFinished(() => {
    poll.close();
    fd[Symbol.dispose]();
  });
  return { fd: fd.number, poll, calls: () => calls, onCall: (callback) => void (more = callback) };
}

describe('a watched eventfd', () => {
  it('calls once for several rings, and not again', async () => {
    const { fd, calls } = setUp(pollEventfd);
    await turns();
    expect(calls()).toBe(0);
    for (let ring = 0; ring < 3; ring += 1) signalEventfd(fd);
    await turns();
    expect(calls()).toBe(1);
  });

  it('calls again for a ring during the call', async () => {
    const { fd, calls, onCall } = setUp(pollEventfd);
    onCall(() => calls() < 3 && signalEventfd(fd));
    signalEventfd(fd);
    for (let count = 0; count < 3; count += 1) await turns();
    expect(calls()).toBe(3);
  });

  it('runs ticks and promises behind each call', async () => {
    const order: string[] = [];
    const [first, second] = [setUp(pollEventfd), setUp(pollEventfd)];
    for (const [name, { onCall, fd }] of Object.entries({ first, second })) {
      onCall(() => {
        order.push(name);
        process.nextTick(() => order.push('tick'));
        void Promise.resolve().then(() => order.push('promise'));
      });
      signalEventfd(fd);
    }
    await turns();
    expect(order.map((name) => (name === 'second' ? 'first' : name))).toEqual([
      ...['first', 'tick', 'promise'],
      ...['first', 'tick', 'promise'],
    ]);
  });

  it('is silent while it is stopped, and goes on with what came meanwhile', async () => {
    const { fd, poll, calls } = setUp(pollEventfd);
    poll.stop();
    signalEventfd(fd);
    await turns();
    expect(calls()).toBe(0);
    poll.start();
    await turns();
    expect(calls()).toBe(1);
  });

  it('may be closed in its own call, is silent then, and does nothing more', async () => {
    const { fd, poll, calls, onCall } = setUp(pollEventfd);
    onCall(() => {
      poll.close();
      signalEventfd(fd);
    });
    signalEventfd(fd);
    await turns();
    for (const act of ['start', 'stop', 'ref', 'unref', 'close'] as const) poll[act]();
    await turns();
    expect(calls()).toBe(1);
  });

  it('refuses what cannot be watched', () => {
    expect(() => pollReadable(-1, () => {})).toThrow('poll: bad file descriptor');
  });
});

describe('a watched descriptor', () => {
  it('calls for as long as nobody reads it', async () => {
    const { fd, poll, calls, onCall } = setUp(pollReadable);
    onCall(() => calls() === 2 && poll.stop());
    signalEventfd(fd);
    for (let count = 0; count < 3; count += 1) await turns();
    expect(calls()).toBe(2);
  });
});
