/** What virtio 1.2 requires of a block device (§5.2). */
import { describe, expect, it } from 'vitest';
import { BLK_F, BlkDriver, header, IOERR, OK, ranges, T, UNSUPP } from '../support/blk-driver.js';
import { CONFIG_CHANGE, REG, ST } from '../support/fake-driver.js';
import { turn } from '../support/plug.js';
import { type DiskOptions, TestDisk } from '../support/test-disk.js';

const sector = new Uint8Array(512).fill(0x5a);
const WRITEBACK = 32;

describe('§5.2.5.2 Device Initialization: the cache mode (5.2.5)', () => {
  const mode = (driver: BlkDriver['driver']): number => driver.config(WRITEBACK, 1);

  it.each([
    { what: 'with CONFIG_WCE', features: BLK_F.CONFIG_WCE | BLK_F.FLUSH, modes: [0, 1] },
    { what: 'without CONFIG_WCE', features: BLK_F.FLUSH, modes: [1, 1] },
    {
      what: 'with CONFIG_WCE and without FLUSH, when 1 would lose writes',
      features: BLK_F.CONFIG_WCE,
      modes: [0, 0],
    },
  ])('writeback is written $what: 0, then 1', ({ features, modes }) => {
    const { driver } = BlkDriver.started({ start: { features } });
    expect(
      [0, 1].map((value) => {
        void driver.write(REG.Config + WRITEBACK, value, 1);
        return mode(driver);
      }),
    ).toEqual(modes);
  });

  it('writeback is 0 or 1, one byte wide, and nothing else is written', () => {
    const { driver } = BlkDriver.started();
    for (let value = 2; value < 256; value += 1) void driver.write(REG.Config + WRITEBACK, value, 1);
    void driver.write(REG.Config + WRITEBACK, 0, 2);
    void driver.write(REG.Config + WRITEBACK, 0, 4);
    expect(mode(driver)).toBe(1);
  });

  it('writeback may be written as soon as CONFIG_WCE is negotiated, and not before', async () => {
    const blk = new BlkDriver(new TestDisk());
    void blk.driver.write(REG.Config + WRITEBACK, 0, 1);
    expect(mode(blk.driver)).toBe(1);
    blk.driver.begin();
    blk.driver.negotiate();
    blk.driver.setUpQueues({});
    void blk.driver.write(REG.Config + WRITEBACK, 0, 1);
    blk.driver.setStatus(ST.DRIVER_OK);
    expect(mode(blk.driver)).toBe(0);
    await blk.request({ type: T.OUT, out: sector });
    expect(blk.disk.calls).toEqual(['write 0+512', 'flush']);
    await blk.driver.reset();
    void blk.driver.write(REG.Config + WRITEBACK, 1, 1);
    expect(mode(blk.driver)).toBe(0);
  });
});

describe('§5.2.5.2 Device Initialization', () => {
  it('FLUSH is always offered, and answered without error', async () => {
    for (const disk of [
      {},
      { readOnly: true },
      { without: ['flush'] },
      { without: ['write'] },
    ] satisfies DiskOptions[]) {
      const blk = BlkDriver.started({ disk });
      expect(blk.driver.offered & BLK_F.FLUSH).toBe(BLK_F.FLUSH);
      expect(await blk.request({ type: T.FLUSH })).toMatchObject({ status: OK });
    }
  });

  it('CONFIG_WCE is offered where there is a cache to be switched', () => {
    const offers = (disk: DiskOptions): bigint =>
      new BlkDriver(new TestDisk(disk)).driver.offered & BLK_F.CONFIG_WCE;
    expect(offers({})).toBe(BLK_F.CONFIG_WCE);
    expect([offers({ readOnly: true }), offers({ without: ['flush'] })]).toEqual([0n, 0n]);
  });

  it('writeback starts with 0 when CONFIG_WCE is negotiated and FLUSH is not: already at FEATURES_OK', () => {
    const { driver } = new BlkDriver(new TestDisk());
    driver.begin();
    driver.negotiate(BLK_F.CONFIG_WCE);
    expect(driver.config(WRITEBACK, 1)).toBe(0);
  });

  it('unused0 and unused1 are 0', () => {
    const { driver } = BlkDriver.started({ queues: 16 });
    expect([33, 57, 58, 59].map((at) => driver.config(at, 1))).toEqual([0, 0, 0, 0]);
  });
});

describe('§5.2.6.2 Device Operation', () => {
  it('a change of capacity triggers a configuration change notification', () => {
    const blk = BlkDriver.started();
    blk.disk.size = 512;
    blk.device.resized();
    expect(blk.driver.config(0, 8)).toBe(1);
    expect(blk.driver.handleInterrupt()).toBe(CONFIG_CHANGE);
  });

  it.each([{ features: ~0n }, { features: 0n }])(
    'with RO offered a write is IOERR and nothing is written',
    async ({ features }) => {
      const blk = BlkDriver.started({ readOnly: true, start: { features } });
      const before = blk.disk.bytes.slice();
      expect(await blk.request({ type: T.OUT, out: sector })).toMatchObject({ status: IOERR });
      expect(blk.disk.bytes).toEqual(before);
    },
  );

  it('any unknown flag of a discard or write zeroes command is UNSUPP, of any of its segments', async () => {
    const blk = BlkDriver.started();
    for (let bit = 1; bit < 32; bit += 1) {
      const flags = (1 << bit) >>> 0;
      for (const type of [T.DISCARD, T.WRITE_ZEROES]) {
        const out = ranges({ sector: 0, sectors: 1 }, { sector: 1, sectors: 1, flags });
        expect(await blk.request({ type, out })).toMatchObject({ status: UNSUPP });
      }
    }
    expect(blk.disk.calls).toEqual([]);
  });

  it('unmap in a discard is UNSUPP', async () => {
    const blk = BlkDriver.started();
    const out = ranges({ sector: 0, sectors: 1, flags: 1 });
    expect(await blk.request({ type: T.DISCARD, out })).toMatchObject({ status: UNSUPP });
  });

  it.each([0, 1])('after write zeroes with unmap %i the range reads as zeroes', async (flags) => {
    const blk = BlkDriver.started();
    await blk.request({ type: T.WRITE_ZEROES, out: ranges({ sector: 3, sectors: 2, flags }) });
    const { status, data } = await blk.request({ type: T.IN, sector: 2, into: 4 * 512 });
    expect(status).toBe(OK);
    expect(data.subarray(512, 1536).every((byte) => byte === 0)).toBe(true);
    expect(data.subarray(0, 512)).toEqual(blk.disk.bytes.slice(1024, 1536));
    expect(data.subarray(0, 512).some((byte) => byte !== 0)).toBe(true);
  });

  it('write_zeroes_may_unmap is set while a back end may deallocate', () => {
    expect(BlkDriver.started().driver.config(56, 1)).toBe(1);
  });

  it.each([
    { what: 'neither CONFIG_WCE nor FLUSH was negotiated', features: 0n, writeback: undefined },
    { what: 'writeback is 0', features: BLK_F.CONFIG_WCE | BLK_F.FLUSH, writeback: 0 },
  ])('when $what, a write is stable before it completes', async ({ features, writeback }) => {
    const blk = BlkDriver.started({ start: { features } });
    if (writeback !== undefined) void blk.driver.write(REG.Config + WRITEBACK, writeback, 1);
    blk.disk.calls.length = 0;
    blk.disk.mode = 'held';
    const queue = blk.driver.queue();
    queue.post([header(T.OUT), sector, 1]);
    const steps: string[] = [];
    while (queue.usedIdx === 0 && steps.length < 5) {
      steps.push(`${blk.disk.calls.at(-1)}, used ${queue.usedIdx}`);
      blk.disk.release();
      await turn();
    }
    expect(steps).toEqual(['write 0+512, used 0', 'flush, used 0']);
  });

  it('a flush completes after the back end has flushed', async () => {
    const blk = BlkDriver.started({ disk: { mode: 'held' } });
    const queue = blk.driver.queue();
    queue.post([header(T.FLUSH), 1]);
    await turn();
    expect([blk.disk.calls, queue.usedIdx]).toEqual([['flush'], 0]);
    blk.disk.release();
    expect(await queue.take()).toHaveLength(1);
  });

  it('LIFETIME is not offered: there are no such metrics', async () => {
    const blk = BlkDriver.started();
    expect(blk.driver.offered & BLK_F.LIFETIME).toBe(0n);
    expect(await blk.request({ type: T.GET_LIFETIME, into: 6 })).toMatchObject({ status: UNSUPP });
  });
});
