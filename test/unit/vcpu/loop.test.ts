import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Bus, type BusDevice } from '../../../src/bus/bus.js';
import { exitReasons } from '../../../src/kvm/abi.js';
import { type VcpuEnd, VcpuLoop } from '../../../src/vcpu/loop.js';
import type { RunPageModel } from '../../support/run-page.js';
import { ScriptedThread } from '../../support/scripted-thread.js';

const DEVICE_PORT = 0x500;
const DEVICE_PAGE = 0xc000_1000;

function setUp(script: ((page: RunPageModel) => void)[] = []) {
  const thread = new ScriptedThread();
  thread.script.push(...script);
  const pio = new Bus('pio');
  const mmio = new Bus('mmio');
  const written: number[][] = [];
  const device: BusDevice = {
    read: (offset, data) => void data.fill(offset + 1),
    write: (_offset, data) => void written.push([...data]),
  };
  pio.claim(DEVICE_PORT, 8, 'device', device);
  mmio.claim(DEVICE_PAGE, 0x1000, 'device', device);
  const ends: VcpuEnd[] = [];
  const loop = new VcpuLoop({
    run: { view: () => thread.page.bytes },
    thread,
    pio,
    mmio,
    onEnd: (end) => void ends.push(end),
  });
  return { thread, loop, pio, mmio, written, ends };
}
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const hlt = (page: RunPageModel): void => page.reason(exitReasons.KVM_EXIT_HLT);

describe('a vCPU loop', () => {
  it('carries port and memory accesses to their bus, and resumes', () => {
    const { thread, loop, written } = setUp([
      (page) => page.pio(DEVICE_PORT + 2, [0, 0], { size: 2 }),
      (page) => {
        expect([...page.bytes.subarray(0x1000, 0x1002)]).toEqual([3, 3]); // the answer to the first
        page.mmio(DEVICE_PAGE, [1, 2, 3, 4], { write: true });
      },
    ]);
    loop.start();
    loop.serve();
    loop.serve();
    expect(written).toEqual([[1, 2, 3, 4]]);
    expect(thread.log).toEqual(['start', 'resume', 'resume']);
    expect(Object.fromEntries(loop.stats.kinds)).toEqual({ pio: 1, mmio: 1 });
    expect(loop.stats.mmio.get(DEVICE_PAGE)).toBe(1);
  });

  it('does nothing while the thread runs', () => {
    const { thread, loop } = setUp();
    loop.start();
    loop.serve();
    expect(thread.log).toEqual(['start']);
    expect(loop.stats.total).toBe(0);
  });

  it('does each part of a repeated port access', () => {
    const { loop, written } = setUp([
      (page) => page.pio(DEVICE_PORT, [1, 2, 3, 4, 5, 6], { size: 2, write: true }),
    ]);
    loop.start();
    loop.serve();
    expect(written).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(loop.stats.total).toBe(1);
  });

  it('gives all ones to a guest that reads where nothing is', () => {
    const { thread, loop, mmio } = setUp([(page) => page.mmio(0xd000_0000, [0, 0, 0, 0])]);
    loop.start();
    loop.serve();
    const { page } = thread;
    expect([...page.bytes].filter((byte) => byte === 0xff)).toHaveLength(4);
    expect(mmio.unclaimed.get(0xd000_0000)).toBe(1);
  });

  it.each<[string, (page: RunPageModel) => void, VcpuEnd]>([
    ['HLT', hlt, { kind: 'hlt' }],
    ['a triple fault', (page) => page.reason(exitReasons.KVM_EXIT_SHUTDOWN), { kind: 'shutdown' }],
    [
      'an internal error',
      (page) => page.internalError(1, [7n]),
      { kind: 'internal-error', suberror: 1, data: [7n] },
    ],
    ['an exit it does not know', (page) => page.reason(99), { kind: 'unknown', reason: 99 }],
  ])('ends at %s, once, and leaves the thread parked', (_what, exit, end) => {
    const { thread, loop, ends } = setUp([exit, hlt]);
    loop.start();
    loop.serve();
    loop.serve();
    expect(ends).toEqual([end]);
    expect(thread.parked).toBe(true);
    expect(thread.log).toEqual(['start']);
  });

  it('ends when KVM_RUN fails', () => {
    const { thread, loop, ends } = setUp([hlt]);
    loop.start();
    thread.error = 14;
    loop.serve();
    expect(ends).toEqual([{ kind: 'run-error', errno: 14 }]);
  });

  it('resumes after an interruption that nobody asked for', () => {
    const { thread, loop, written } = setUp([
      (page) => page.reason(exitReasons.KVM_EXIT_INTR),
      (page) => page.pio(DEVICE_PORT, [5], { write: true }),
    ]);
    loop.start();
    loop.serve();
    loop.serve();
    expect(written).toEqual([[5]]);
    expect(loop.stats.kinds.get('interrupted')).toBe(1);
    expect(thread.log).toEqual(['start', 'resume', 'resume']);
  });
});

describe('a device that throws', () => {
  it('ends the vCPU with the error and the address', () => {
    const { loop, pio, ends } = setUp([(page) => page.pio(0x600, [1], { write: true }), hlt]);
    const error = new Error('broken');
    pio.claim(0x600, 1, 'broken', {
      read() {},
      write() {
        throw error;
      },
    });
    loop.start();
    loop.serve();
    expect(ends).toEqual([{ kind: 'device-error', error, address: 0x600 }]);
  });
});

describe('a device that answers later', () => {
  function slow(script: ((page: RunPageModel) => void)[]) {
    const all = setUp(script);
    const pending: { resolve: () => void; reject: (error: unknown) => void }[] = [];
    const later = (): Promise<void> =>
      new Promise((resolve, reject) => void pending.push({ resolve, reject }));
    const parts: number[][] = [];
    all.pio.claim(0x600, 8, 'slow', {
      read: (_offset, data) => later().then(() => void data.fill(9)),
      write(_offset, data) {
        parts.push([...data]);
        return later();
      },
    });
    all.loop.start();
    all.loop.serve();
    return { ...all, pending, parts };
  }

  it('keeps the vCPU parked until it has', async () => {
    const { thread, loop, pending } = slow([(page) => page.pio(0x600, [0])]);
    loop.serve();
    expect(thread.log).toEqual(['start']);
    pending[0]!.resolve();
    await settled();
    expect(thread.log).toEqual(['start', 'resume']);
    expect(thread.page.bytes[0x1000]).toBe(9);
  });

  it('gets the parts of a repeated access one after the other', async () => {
    const { thread, pending, parts } = slow([(page) => page.pio(0x600, [1, 2, 3], { write: true })]);
    expect(parts).toEqual([[1]]);
    pending[0]!.resolve();
    await settled();
    expect(parts).toEqual([[1], [2]]);
    pending[1]!.resolve();
    await settled();
    pending[2]!.resolve();
    await settled();
    expect(parts).toEqual([[1], [2], [3]]);
    expect(thread.log).toEqual(['start', 'resume']);
  });

  it('ends the vCPU when its promise is rejected', async () => {
    const { pending, ends, thread } = slow([(page) => page.pio(0x600, [0])]);
    const error = new Error('disk on fire');
    pending[0]!.reject(error);
    await settled();
    expect(ends).toEqual([{ kind: 'device-error', error, address: 0x600 }]);
    expect(thread.log).toEqual(['start']);
  });

  it('does not resume a thread that was stopped meanwhile', async () => {
    const { thread, loop, pending, ends } = slow([(page) => page.pio(0x600, [0])]);
    loop.stop();
    pending[0]!.resolve();
    await settled();
    expect(thread.log).toEqual(['start']);
    expect(ends).toEqual([]);
  });
});

describe('pause', () => {
  it('stops between two instructions: an access in progress is answered first', async () => {
    const { thread, loop, written } = setUp([
      (page) => page.pio(DEVICE_PORT, [1], { write: true }),
      (page) => page.pio(DEVICE_PORT, [2], { write: true }),
    ]);
    loop.start();
    let paused = false;
    const reached = loop.pause().then(() => void (paused = true));
    await settled();
    expect(paused).toBe(false);
    loop.serve(); // the access
    loop.serve(); // the interruption
    await reached;
    expect(written).toEqual([[1]]);
    expect(thread.parked).toBe(true);
    loop.serve();
    expect(written).toEqual([[1]]); // paused: nothing is answered
    expect(loop.stats.total).toBe(2);
    loop.resume();
    loop.serve();
    expect(written).toEqual([[1], [2]]);
  });

  it('asked for twice is one pause; while paused it is at once', async () => {
    const { thread, loop } = setUp();
    loop.start();
    const both = Promise.all([loop.pause(), loop.pause()]);
    loop.serve();
    await both;
    await loop.pause();
    expect(thread.log.filter((entry) => entry === 'kick')).toHaveLength(1);
    loop.resume();
    expect(thread.log.at(-1)).toBe('resume');
    loop.resume(); // running already
    expect(thread.log.filter((entry) => entry === 'resume')).toHaveLength(1);
  });

  it('is over when resume() comes before it was reached', async () => {
    const { thread, loop } = setUp();
    loop.start();
    const reached = loop.pause();
    loop.resume();
    await reached;
    loop.serve(); // the kick arrives after all
    expect(thread.parked).toBe(false);
  });

  it('counts as reached when the vCPU is stopped', async () => {
    const { loop } = setUp();
    loop.start();
    const reached = loop.pause();
    loop.stop();
    await reached;
  });
});

describe('a burst of exits', () => {
  const out = (page: RunPageModel): void => page.pio(DEVICE_PORT, [1], { write: true });
  /** Milliseconds, by the test's clock. */
  let now = 0;
  const hrtime = () => [Math.trunc(now / 1000), (now % 1000) * 1e6];
  beforeEach(() => void vi.spyOn(process, 'hrtime').mockImplementation(hrtime as typeof process.hrtime));
  afterEach(() => void vi.restoreAllMocks());

  it('is answered in one visit when the thread runs on another CPU', () => {
    const { thread, loop, written } = setUp([out, out, out]);
    thread.onOtherCpu = true;
    loop.start();
    loop.serve();
    expect(written).toHaveLength(3);
    expect(thread.log).toEqual(['start', 'begin spin', 'resume', 'resume', 'resume', 'end spin']);
  });

  it('is answered one by one when the thread shares our CPU: watching would keep it from running', () => {
    const { thread, loop, written } = setUp([out, out]);
    loop.start();
    loop.serve();
    expect(written).toHaveLength(1);
    expect(thread.log).not.toContain('begin spin');
  });

  it('is not seen in an exit that comes alone', () => {
    const { thread, loop } = setUp([out, out]);
    thread.onOtherCpu = true;
    loop.start();
    now += 1;
    loop.serve();
    expect(thread.log).not.toContain('begin spin');
  });

  it('keeps the event loop for 200 µs at most', async () => {
    const EXITS = 50;
    const { thread, loop, written } = setUp(
      Array(EXITS).fill((page: RunPageModel) => {
        now += 0.01;
        out(page);
      }),
    );
    thread.onOtherCpu = true;
    loop.start();
    loop.serve();
    expect(written.length).toBeGreaterThan(10);
    expect(written.length).toBeLessThan(25);
    // The next visit has been arranged, and the thread waits for it: nobody would ring for the exit that is there already.
    expect(thread.log).not.toContain('end spin');
    await settled();
    expect(written.length).toBeGreaterThan(25);
    loop.stop();
  });

  it('is no longer watched when the thread has moved to our CPU during the turn of the event loop', async () => {
    const { thread, loop, written } = setUp(
      Array(30).fill((page: RunPageModel) => {
        now += 0.01;
        out(page);
      }),
    );
    thread.onOtherCpu = true;
    loop.start();
    loop.serve();
    const first = written.length;
    thread.onOtherCpu = false;
    await settled();
    expect(thread.log.filter((word) => word === 'begin spin')).toHaveLength(1);
    expect(thread.log).toContain('end spin');
    // The exit that waited was answered, and from then on the thread rings for each.
    expect(written.length).toBe(first + 1);
    loop.stop();
  });

  it('looks once more after it stopped watching: an exit in between told nobody', async () => {
    const { thread, loop, written } = setUp([out]);
    thread.onOtherCpu = true;
    thread.endSpin = () => {
      if (thread.script.length === 0 && written.length === 1) thread.script.push(out);
      thread.step();
    };
    loop.start();
    loop.serve();
    expect(written).toHaveLength(1);
    await settled();
    await settled();
    expect(written.length).toBeGreaterThanOrEqual(2);
    loop.stop();
  });

  it('ends with the vCPU', () => {
    const { thread, loop, written, ends } = setUp([out, hlt, out]);
    thread.onOtherCpu = true;
    loop.start();
    loop.serve();
    expect(written).toHaveLength(1);
    expect(ends).toEqual([{ kind: 'hlt' }]);
    expect(thread.log.at(-1)).toBe('end spin');
  });
});
