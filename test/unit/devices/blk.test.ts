/** A block device beyond single requests: what it offers, its configuration, durability, bounds, limits, resets and live changes. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  BLK_F,
  BlkDriver,
  header,
  IOERR,
  OK,
  ranges,
  T,
  UNSUPP,
  UNTOUCHED,
} from '../../support/blk-driver.js';
import { CONFIG_CHANGE, EVENT_IDX, INDIRECT_DESC, REG, VERSION_1 } from '../../support/fake-driver.js';
import { turn } from '../../support/plug.js';
import { type DiskOptions, TestDisk } from '../../support/test-disk.js';

const sector = new Uint8Array(512).fill(0x5a);
/** Offsets in struct virtio_blk_config, §5.2.4. */
const CFG = {
  capacity: 0,
  seg_max: 12,
  blk_size: 20,
  topology: 24,
  min_io: 26,
  writeback: 32,
  unused0: 33,
  num_queues: 34,
} as const;

afterEach(() => {
  vi.useRealTimers();
});

describe('a block device offers', () => {
  const ALWAYS =
    BLK_F.SEG_MAX | BLK_F.BLK_SIZE | BLK_F.TOPOLOGY | BLK_F.FLUSH | INDIRECT_DESC | EVENT_IDX | VERSION_1;
  it.each<{ what: string; disk?: DiskOptions; readOnly?: boolean; queues?: number; features: bigint }>([
    {
      what: 'everything its back end can do',
      features: BLK_F.FLUSH | BLK_F.CONFIG_WCE | BLK_F.DISCARD | BLK_F.WRITE_ZEROES,
    },
    {
      what: 'no cache without flush',
      disk: { without: ['flush'] },
      features: BLK_F.DISCARD | BLK_F.WRITE_ZEROES,
    },
    {
      what: 'no discard without discard',
      disk: { without: ['discard', 'writeZeroes'] },
      features: BLK_F.FLUSH | BLK_F.CONFIG_WCE,
    },
    { what: 'reading only, if told so', readOnly: true, features: BLK_F.RO },
    { what: 'reading only over a back end that is', disk: { readOnly: true }, features: BLK_F.RO },
    { what: 'reading only over a back end without write', disk: { without: ['write'] }, features: BLK_F.RO },
    {
      what: 'several queues',
      queues: 4,
      features: BLK_F.MQ | BLK_F.FLUSH | BLK_F.CONFIG_WCE | BLK_F.DISCARD | BLK_F.WRITE_ZEROES,
    },
  ])('$what', ({ disk = {}, readOnly, queues, features }) => {
    const blk = new BlkDriver(new TestDisk(disk), { readOnly, queues });
    expect(blk.driver.offered).toBe(ALWAYS | features);
  });
});

describe('its configuration', () => {
  it('says what it is', () => {
    const { driver } = BlkDriver.started({ disk: { size: 1_000_000, blockSize: 4096 }, queues: 3 });
    expect(driver.read(REG.DeviceID)).toBe(2);
    expect(driver.config(CFG.capacity, 8)).toBe(1953); // whole sectors
    expect(driver.config(CFG.seg_max)).toBe(254);
    expect(driver.config(CFG.blk_size)).toBe(512);
    expect([
      driver.config(CFG.topology, 1),
      driver.config(CFG.topology + 1, 1),
      driver.config(CFG.min_io, 2),
    ]).toEqual([3, 0, 8]);
    expect([
      driver.config(CFG.writeback, 1),
      driver.config(CFG.unused0, 1),
      driver.config(CFG.num_queues, 2),
    ]).toEqual([1, 0, 3]);
    expect([36, 40, 44, 48, 52].map((at) => driver.config(at))).toEqual([2 ** 22, 16, 8, 2 ** 22, 16]);
    expect(driver.config(56)).toBe(1); // write_zeroes_may_unmap, unused1
  });

  it('has a capacity above 2^32 sectors', () => {
    const disk = new TestDisk();
    disk.size = 2 ** 44;
    expect(new BlkDriver(disk).driver.config(CFG.capacity, 8)).toBe(2 ** 35);
  });

  it('has sectors above 2^32, too, and reaches them', async () => {
    const blk = BlkDriver.started();
    blk.disk.size = 2 ** 44;
    blk.post({ type: T.IN, sector: 2 ** 33 + 5, into: 512 });
    blk.post({ type: T.DISCARD, out: ranges({ sector: 2 ** 34 + 7, sectors: 1 }) });
    expect(blk.disk.calls).toEqual([`read ${(2 ** 33 + 5) * 512}+512`, `discard ${(2 ** 34 + 7) * 512}+512`]);
  });

  it('keeps the rest of a disk that is no whole number of sectors out of reach', async () => {
    const blk = BlkDriver.started({ disk: { size: 1023 } });
    expect(await blk.request({ type: T.IN, sector: 1, into: 512 })).toMatchObject({ status: IOERR });
    expect(await blk.request({ type: T.IN, sector: 0, into: 512 })).toMatchObject({ status: OK });
  });

  it('takes no writes but of the cache mode', () => {
    const { driver, disk } = BlkDriver.started();
    const before = Array.from({ length: 15 }, (_, index) => driver.config(4 * index));
    for (let at = 0; at < 60; at += 1) if (at !== CFG.writeback) void driver.write(REG.Config + at, 0xff, 1);
    for (let at = 0; at < 60; at += 4) void driver.write(REG.Config + at, 0xffff_ffff);
    expect(Array.from({ length: 15 }, (_, index) => driver.config(4 * index))).toEqual(before);
    expect(disk.calls).toEqual([]);
  });
});

describe('a read-only disk', () => {
  it.each([
    { request: { type: T.OUT, out: sector }, status: IOERR },
    { request: { type: T.DISCARD, out: ranges({ sector: 0, sectors: 1 }) }, status: UNSUPP },
    { request: { type: T.WRITE_ZEROES, out: ranges({ sector: 0, sectors: 1 }) }, status: UNSUPP },
    { request: { type: T.IN, into: 512 }, status: OK },
  ])('answers request $request.type with $status', async ({ request, status }) => {
    const blk = BlkDriver.started({ readOnly: true });
    expect(await blk.request(request)).toMatchObject({ status });
    expect(blk.disk.calls).toEqual(status === OK ? ['read 0+512'] : []);
  });

  it('refuses writes from a driver that did not accept RO', async () => {
    const blk = BlkDriver.started({ readOnly: true, start: { features: 0n } });
    expect(await blk.request({ type: T.OUT, out: sector })).toMatchObject({ status: IOERR, length: 1 });
  });
});

describe('features that were not accepted', () => {
  it.each([
    { type: T.DISCARD, feature: BLK_F.DISCARD },
    { type: T.WRITE_ZEROES, feature: BLK_F.WRITE_ZEROES },
  ])('make request $type unsupported', async ({ type, feature }) => {
    const blk = BlkDriver.started({ start: { features: ~feature } });
    const out = ranges({ sector: 0, sectors: 1 });
    expect(await blk.request({ type, out })).toMatchObject({ status: UNSUPP, length: 1 });
    expect(blk.disk.calls).toEqual([]);
  });
});

describe('durability (§5.2.6.2)', () => {
  const WRITEBACK = ['write 0+512'];
  const WRITETHROUGH = ['write 0+512', 'flush'];
  it.each([
    { what: 'neither FLUSH nor CONFIG_WCE', features: 0n, writeback: 1, calls: WRITETHROUGH },
    { what: 'FLUSH', features: BLK_F.FLUSH, writeback: 1, calls: WRITEBACK },
    {
      what: 'FLUSH and CONFIG_WCE',
      features: BLK_F.FLUSH | BLK_F.CONFIG_WCE,
      writeback: 1,
      calls: WRITEBACK,
    },
    { what: 'CONFIG_WCE alone', features: BLK_F.CONFIG_WCE, writeback: 0, calls: WRITETHROUGH },
  ])('with $what', async ({ features, writeback, calls }) => {
    const blk = BlkDriver.started({ start: { features } });
    expect(blk.driver.config(CFG.writeback, 1)).toBe(writeback);
    expect(await blk.request({ type: T.OUT, out: sector })).toMatchObject({ status: OK, length: 1 });
    expect(blk.disk.calls).toEqual(calls);
  });

  it('the cache mode is what the driver sets, at once, and back', async () => {
    const blk = BlkDriver.started();
    void blk.driver.write(REG.Config + CFG.writeback, 0, 1);
    expect(blk.driver.config(CFG.writeback, 1)).toBe(0);
    await blk.request({ type: T.OUT, out: sector });
    void blk.driver.write(REG.Config + CFG.writeback, 1, 1);
    expect(blk.driver.config(CFG.writeback, 1)).toBe(1);
    await blk.request({ type: T.OUT, out: sector });
    // The first flush is for what was written before.
    expect(blk.disk.calls).toEqual(['flush', ...WRITETHROUGH, ...WRITEBACK]);
  });

  it('the cache mode cannot be set without CONFIG_WCE', () => {
    const { driver } = BlkDriver.started({ start: { features: BLK_F.FLUSH } });
    void driver.write(REG.Config + CFG.writeback, 0, 1);
    expect(driver.config(CFG.writeback, 1)).toBe(1);
  });

  it('the next driver starts with a cache of its own', async () => {
    const blk = BlkDriver.started({ start: { features: BLK_F.CONFIG_WCE } });
    expect(blk.driver.config(CFG.writeback, 1)).toBe(0);
    blk.driver.start();
    expect(blk.driver.config(CFG.writeback, 1)).toBe(1);
    await blk.request({ type: T.OUT, out: sector });
    expect(blk.disk.calls).toEqual(WRITEBACK);
  });

  it.each([T.DISCARD, T.WRITE_ZEROES])('of request %i is that of a write', async (type) => {
    const blk = BlkDriver.started();
    void blk.driver.write(REG.Config + CFG.writeback, 0, 1);
    blk.disk.calls.length = 0;
    await blk.request({ type, out: ranges({ sector: 0, sectors: 1 }) });
    expect(blk.disk.calls).toHaveLength(2);
    expect(blk.disk.calls[1]).toBe('flush');
  });

  it('a write completes only after its flush', async () => {
    const blk = BlkDriver.started({ disk: { mode: 'held' }, start: { features: 0n } });
    const answer = blk.post({ type: T.OUT, out: sector });
    blk.disk.release();
    await turn();
    expect([blk.disk.calls, answer().status]).toEqual([WRITETHROUGH, UNTOUCHED]);
    blk.disk.release();
    await blk.take();
    expect(answer().status).toBe(OK);
  });

  it('a write whose flush fails has failed', async () => {
    const blk = BlkDriver.started({ disk: { mode: 'held' }, start: { features: 0n } });
    const answer = blk.post({ type: T.OUT, out: sector });
    blk.disk.release();
    await turn();
    blk.disk.failure = new Error('EIO');
    blk.disk.release();
    await blk.take();
    expect(answer().status).toBe(IOERR);
  });

  it('over a back end that cannot flush, a write is just a write, and so is a flush', async () => {
    const blk = BlkDriver.started({ disk: { without: ['flush'] } });
    expect(await blk.request({ type: T.OUT, out: sector })).toMatchObject({ status: OK });
    expect(await blk.request({ type: T.FLUSH })).toMatchObject({ status: OK });
    expect(blk.disk.calls).toEqual(WRITEBACK);
  });
});

describe('requests side by side', () => {
  it('complete in the order of the back end, with one interrupt for those that come together', async () => {
    const blk = BlkDriver.started({ disk: { mode: 'held' }, start: { features: ~EVENT_IDX } });
    const answers = [0, 1, 2].map((at) => blk.post({ type: T.IN, sector: at, into: 512 }));
    expect(blk.disk.waiting).toBe(3);
    blk.disk.release(1);
    const [first] = await blk.take();
    expect(first!.posted!.written()[512]).toBe(OK);
    expect(answers.map((answer) => answer().status)).toEqual([UNTOUCHED, OK, UNTOUCHED]);
    blk.plugged.irq.take();
    blk.disk.release();
    await blk.take(2);
    expect(blk.plugged.irq.take()).toBe(1);
  });

  it('of several queues go to the queues they came from', async () => {
    const blk = BlkDriver.started({ queues: 3, disk: { mode: 'async' } });
    const answers = [0, 1, 2].map((queue) => blk.post({ type: T.IN, sector: queue, into: 512 }, queue));
    for (const queue of [0, 1, 2]) expect(await blk.take(1, queue)).toHaveLength(1);
    expect(answers.map((answer) => answer().data[0])).toEqual(
      [0, 1, 2].map((at) => blk.disk.bytes[512 * at]),
    );
  });

  it('are counted', async () => {
    const blk = BlkDriver.started();
    await blk.request({ type: T.IN, into: 1024 });
    await blk.request({ type: T.OUT, out: sector });
    await blk.request({ type: T.OUT, out: sector });
    await blk.request({ type: T.FLUSH });
    await blk.request({ type: T.IN, sector: 9999, into: 512 });
    expect(blk.device.stats).toEqual({
      reads: 1,
      writes: 2,
      flushes: 1,
      readBytes: 1024,
      writtenBytes: 1024,
      errors: 1,
    });
  });
});

describe('one turn of the event loop', () => {
  it('starts 32 requests at most; the rest follow by themselves', async () => {
    const blk = BlkDriver.started();
    const queue = blk.driver.queue();
    for (let index = 0; index < 80; index += 1) queue.add([header(T.IN), 512, 1]);
    queue.kick();
    expect(blk.disk.calls).toHaveLength(32);
    expect(await blk.take(80)).toHaveLength(80);
  });

  it('moves about a MiB at most', async () => {
    const blk = BlkDriver.started({ disk: { size: 2 ** 18 } });
    const queue = blk.driver.queue();
    const at = blk.plugged.ram.alloc(2 ** 18);
    for (let index = 0; index < 10; index += 1) {
      queue.add([header(T.IN), { at, length: 2 ** 18, write: true }, 1]);
    }
    queue.kick();
    expect(blk.disk.calls).toHaveLength(4);
    await blk.take(10);
    expect(blk.disk.calls).toHaveLength(10);
  });
});

describe('a request that asks for much', () => {
  /** 16 pieces of the same 256 KiB: a guest needs no more memory than that. */
  const overlapping = (blk: BlkDriver, write: boolean) => {
    const at = blk.plugged.ram.alloc(2 ** 18);
    return Array.from({ length: 16 }, () => ({ at, length: 2 ** 18, write }));
  };

  it.each([
    { mode: 'sync', vectored: true },
    { mode: 'sync', vectored: false },
    { mode: 'async', vectored: true },
  ] as const)(
    'is done in parts of 1 MiB, a turn each: $mode, vectored $vectored',
    async ({ mode, vectored }) => {
      const blk = BlkDriver.started({ disk: { size: 2 ** 23, mode, vectored } });
      const perPart = vectored ? 1 : 4;
      const counts: number[] = [];
      for (const [type, write] of [
        [T.IN, true],
        [T.OUT, false],
      ] as const) {
        blk.disk.calls.length = 0;
        const queue = blk.driver.queue();
        queue.add([header(type, 3), ...overlapping(blk, write), 1]);
        queue.kick();
        counts.push(blk.disk.calls.length);
        const [used] = await blk.take();
        expect(used!.length).toBe(write ? 2 ** 22 + 1 : 1);
        expect(blk.disk.calls).toHaveLength(4 * perPart);
      }
      expect(counts).toEqual([perPart, mode === 'sync' || vectored ? perPart : 1]);
      if (vectored) {
        expect(blk.disk.calls).toEqual(
          [0, 1, 2, 3].map((part) => `writev ${1536 + part * 2 ** 20}+${2 ** 20} in 4`),
        );
      }
    },
  );

  it('lets the event loop have its turns, also beside an async function that copies at once', async () => {
    const blk = BlkDriver.started({ disk: { size: 2 ** 23 } });
    const { disk } = blk;
    const parts: number[] = [];
    let turns = 0;
    const count = (): void => {
      turns += 1;
      if (parts.length < 16) setImmediate(count);
    };
    setImmediate(count);
    Object.assign(disk, {
      read: async () => {
        parts.push(turns);
      },
    });
    blk.driver.queue().post([header(T.IN), ...overlapping(blk, true), 1]);
    await blk.take();
    // 4 pieces to a MiB.
    expect(new Set(parts).size).toBe(4);
  });

  it('of ranges is done in parts that end at multiples of 4 MiB', async () => {
    const blk = BlkDriver.started({ disk: { size: 1024 } });
    blk.disk.size = 2 ** 40;
    const MIB = 2048; // sectors
    const out = ranges({ sector: MIB, sectors: 9 * MIB }, { sector: 100 * MIB, sectors: 1 });
    expect(await blk.request({ type: T.DISCARD, out })).toMatchObject({ status: OK });
    const mib = 2 ** 20;
    expect(blk.disk.calls).toEqual([
      `discard ${mib}+${3 * mib}`,
      `discard ${4 * mib}+${4 * mib}`,
      `discard ${8 * mib}+${2 * mib}`,
      `discard ${100 * mib}+512`,
    ]);
  });

  it('of ranges is alone in its turn', async () => {
    const blk = BlkDriver.started();
    const queue = blk.driver.queue();
    for (let index = 0; index < 3; index += 1)
      queue.add([header(T.WRITE_ZEROES), ranges({ sector: index, sectors: 1 }), 1]);
    queue.kick();
    expect(blk.disk.calls).toEqual(['zero 0+512']);
    expect(await blk.take(3)).toHaveLength(3);
  });

  it('ends where a part fails, and early when its driver is gone', async () => {
    const blk = BlkDriver.started({ disk: { size: 2 ** 23, vectored: true } });
    blk.disk.failure = new Error('test');
    const queue = blk.driver.queue();
    const answer = blk.postPieces([header(T.IN), ...overlapping(blk, true), 1]);
    await blk.take();
    expect([answer().status, blk.disk.calls.length]).toEqual([IOERR, 1]);
    // So long a request was alone in its turn.
    await turn();
    blk.disk.failure = undefined;
    queue.post([header(T.IN), ...overlapping(blk, true), 1]);
    await blk.driver.reset();
    await turn();
    await turn();
    expect(blk.disk.calls).toHaveLength(2);
  });
});

describe('rate limits', () => {
  it('make requests wait, in order, and lose none', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const blk = BlkDriver.started({ limit: { ops: { size: 2, refillMs: 100 } } });
    const queue = blk.driver.queue();
    for (const at of [0, 1, 2, 3]) queue.add([header(T.IN, at), 512, 1]);
    queue.kick();
    expect(blk.disk.calls).toEqual(['read 0+512', 'read 512+512']);
    queue.notify();
    expect(blk.disk.calls).toHaveLength(2);
    vi.advanceTimersByTime(50);
    await turn();
    expect(blk.disk.calls).toHaveLength(3);
    vi.advanceTimersByTime(50);
    await turn();
    expect(blk.disk.calls).toEqual([0, 512, 1024, 1536].map((at) => `read ${at}+512`));
    expect(await queue.take(4)).toHaveLength(4);
  });

  it('count the bytes of both directions', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const blk = BlkDriver.started({ limit: { bandwidth: { size: 1024, refillMs: 1000 } } });
    blk.post({ type: T.OUT, out: sector });
    blk.post({ type: T.IN, into: 512 });
    blk.post({ type: T.IN, into: 512 });
    expect(blk.disk.calls).toHaveLength(2);
    vi.advanceTimersByTime(499);
    await turn();
    expect(blk.disk.calls).toHaveLength(2);
    vi.advanceTimersByTime(1);
    await turn();
    expect(blk.disk.calls).toHaveLength(3);
  });

  it('wait no longer than the session: a reset forgets them', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const blk = BlkDriver.started({ limit: { ops: { size: 1, refillMs: 1000 } } });
    blk.post({ type: T.IN, into: 512 });
    blk.post({ type: T.IN, into: 512 });
    expect(vi.getTimerCount()).toBe(1);
    void blk.driver.reset();
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(1000);
    blk.driver.start();
    await blk.request({ type: T.IN, sector: 5, into: 512 });
    expect(blk.disk.calls).toEqual(['read 0+512', 'read 2560+512']);
  });
});

describe('a reset with requests in flight', () => {
  it('waits for them, gives none of them back, and starts anew', async () => {
    const blk = BlkDriver.started({ disk: { mode: 'held' } });
    const answers = [0, 1].map((at) => blk.post({ type: T.IN, sector: at, into: 512 }));
    const usedIdx = (): number => queue.usedIdx;
    const queue = blk.driver.queue();
    let done = false;
    const reset = Promise.resolve(blk.driver.reset()).then(() => {
      done = true;
    });
    blk.disk.release(0);
    await turn();
    await turn();
    expect([done, usedIdx(), blk.driver.status]).toEqual([false, 0, 15]);
    blk.disk.release();
    await reset;
    expect([usedIdx(), blk.driver.status, ...answers.map((answer) => answer().status)]).toEqual([
      0,
      0,
      UNTOUCHED,
      UNTOUCHED,
    ]);
    blk.disk.mode = 'sync';
    blk.driver.start();
    expect(await blk.request({ type: T.IN, into: 512 })).toMatchObject({ status: OK, length: 513 });
  });

  it('waits for those that fail, too', async () => {
    const errors: unknown[] = [];
    const blk = BlkDriver.started({ disk: { mode: 'held' }, onHostError: (error) => errors.push(error) });
    blk.post({ type: T.IN, into: 512 });
    const reset = blk.driver.reset();
    blk.disk.failure = new Error('EIO');
    blk.disk.release();
    await reset;
    expect([blk.driver.status, errors.length]).toEqual([0, 1]);
  });

  it('waits for the flush of a change of the cache mode', async () => {
    const blk = BlkDriver.started({ disk: { mode: 'held' } });
    void blk.driver.write(REG.Config + CFG.writeback, 0, 1);
    const reset = blk.driver.reset();
    expect(reset).toBeInstanceOf(Promise);
    blk.disk.release();
    await reset;
    expect(blk.driver.status).toBe(0);
  });

  it('is at once when nothing is in flight', () => {
    const blk = BlkDriver.started();
    blk.post({ type: T.IN, into: 512 });
    expect(blk.driver.reset()).toBeUndefined();
  });

  it('comes before the back end is closed, once', async () => {
    const blk = BlkDriver.started({ disk: { mode: 'held' } });
    blk.post({ type: T.IN, into: 512 });
    const closed = blk.plugged.transport.close();
    await turn();
    expect(blk.disk.closed).toBe(0);
    blk.disk.release();
    await closed;
    expect(blk.disk.closed).toBe(1);
  });
});

describe('a resize', () => {
  it('shows the driver the new capacity, with a new generation and an interrupt', async () => {
    const blk = BlkDriver.started();
    const generation = blk.driver.read(REG.ConfigGeneration);
    blk.disk.size = 32 * 1024;
    blk.device.resized();
    expect(blk.driver.config(CFG.capacity, 8)).toBe(64);
    expect(blk.driver.read(REG.ConfigGeneration)).not.toBe(generation);
    expect(blk.driver.handleInterrupt() & CONFIG_CHANGE).not.toBe(0);
    expect(await blk.request({ type: T.IN, sector: 64, into: 512 })).toMatchObject({ status: IOERR });
    expect(await blk.request({ type: T.IN, sector: 63, into: 512 })).toMatchObject({ status: OK });
  });
});

describe('another disk', () => {
  it('takes over when nothing is in flight; requests wait for it', async () => {
    const blk = BlkDriver.started({ disk: { mode: 'held' } });
    const second = new TestDisk({ size: 16 * 1024 });
    second.bytes.fill(0x99);
    const first = blk.post({ type: T.IN, into: 512 });
    const replaced = blk.device.replace(second);
    const later = blk.post({ type: T.IN, into: 512 });
    await turn();
    expect([blk.disk.calls, second.calls]).toEqual([['read 0+512'], []]);
    blk.disk.release();
    expect(await replaced).toBe(blk.disk);
    await blk.take(2);
    expect([first().data[0], later().data[0]]).toEqual([blk.disk.bytes[0], 0x99]);
    expect([blk.device.disk, blk.disk.closed]).toEqual([second, 0]);
    expect(blk.driver.config(CFG.capacity, 8)).toBe(32);
    expect(blk.driver.handleInterrupt() & CONFIG_CHANGE).not.toBe(0);
  });

  it.each<{ what: string; old?: DiskOptions; disk: DiskOptions }>([
    { what: 'is read-only', disk: { readOnly: true } },
    { what: 'cannot write', disk: { without: ['write'] } },
    { what: 'cannot flush', disk: { without: ['flush'] } },
    { what: 'cannot discard', disk: { without: ['discard'] } },
    { what: 'cannot write zeroes', disk: { without: ['writeZeroes'] } },
  ])('is refused when it $what and the first can', async ({ disk }) => {
    const blk = BlkDriver.started();
    await expect(blk.device.replace(new TestDisk(disk))).rejects.toThrow(RangeError);
    expect(await blk.request({ type: T.IN, into: 512 })).toMatchObject({ status: OK });
    expect(blk.disk.calls).toEqual(['read 0+512']);
  });

  it('may be read-only for a device that is', async () => {
    const blk = BlkDriver.started({ readOnly: true });
    const second = new TestDisk({ without: ['write', 'flush', 'discard', 'writeZeroes'] });
    await blk.device.replace(second);
    expect(await blk.request({ type: T.IN, into: 512 })).toMatchObject({ status: OK });
    expect(second.calls).toEqual(['read 0+512']);
  });

  it('may come in the middle of a reset', async () => {
    const blk = BlkDriver.started({ disk: { mode: 'held' } });
    blk.post({ type: T.IN, into: 512 });
    const second = new TestDisk();
    const replaced = blk.device.replace(second);
    const reset = blk.driver.reset();
    blk.disk.release();
    await Promise.all([replaced, reset]);
    blk.driver.start();
    expect(await blk.request({ type: T.IN, into: 512 })).toMatchObject({ status: OK });
    expect(second.calls).toEqual(['read 0+512']);
  });
});
