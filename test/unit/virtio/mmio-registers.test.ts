/** Every register of virtio-mmio 2: what it reads, what a write does, and what accesses that nobody allows do: nothing. */
import { describe, expect, it } from 'vitest';
import {
  EVENT_IDX,
  type FakeDriver,
  INDIRECT_DESC,
  REG,
  RUNNING,
  ST,
  VERSION_1,
} from '../../support/fake-driver.js';
import { GuestRam } from '../../support/guest-ram.js';
import { plug, WINDOW_BASE } from '../../support/plug.js';
import { echo, ProbeDevice, type ProbeOptions } from '../../support/probe-device.js';

const plugged = (options: ProbeOptions = {}) => plug(new ProbeDevice(options));
const READABLE: readonly number[] = [
  REG.MagicValue,
  REG.Version,
  REG.DeviceID,
  REG.VendorID,
  REG.DeviceFeatures,
  REG.QueueNumMax,
  REG.QueueReady,
  REG.InterruptStatus,
  REG.Status,
  REG.SHMLenLow,
  REG.SHMLenHigh,
  REG.SHMBaseLow,
  REG.SHMBaseHigh,
  REG.ConfigGeneration,
];

describe('registers that say what the device is', () => {
  it.each([
    ['MagicValue', REG.MagicValue, 0x7472_6976],
    ['Version', REG.Version, 2],
    ['DeviceID', REG.DeviceID, 42],
    ['VendorID', REG.VendorID, 0x4550_5954],
    ['SHMLenLow', REG.SHMLenLow, 0xffff_ffff],
    ['SHMLenHigh', REG.SHMLenHigh, 0xffff_ffff],
    ['SHMBaseLow', REG.SHMBaseLow, 0xffff_ffff],
    ['SHMBaseHigh', REG.SHMBaseHigh, 0xffff_ffff],
    ['ConfigGeneration', REG.ConfigGeneration, 0],
    ['Status', REG.Status, 0],
    ['InterruptStatus', REG.InterruptStatus, 0],
    ['QueueReset, which is not offered', REG.QueueReset, 0],
  ])('%s', (_name, register, value) => {
    expect(plugged().driver.read(register)).toBe(value);
  });

  it('stay when they are written', () => {
    const { driver } = plugged();
    for (const register of [
      REG.MagicValue,
      REG.Version,
      REG.DeviceID,
      REG.VendorID,
      REG.SHMLenLow,
      REG.ConfigGeneration,
    ]) {
      const before = driver.read(register);
      void driver.write(register, 0x1234_5678);
      expect(driver.read(register)).toBe(before);
    }
  });
});

describe('accesses that §4.2.2.2 forbids', () => {
  it.each([1, 2, 8])('of %i bytes read 0 from every register, whole or in part', (width) => {
    const { driver } = plugged();
    driver.start();
    const wrong: number[] = [];
    for (let offset = 0; offset + width <= REG.Config; offset += 1) {
      if (driver.read(offset, width) !== 0) wrong.push(offset);
    }
    expect(wrong).toEqual([]);
  });

  it('at offsets between registers read 0', () => {
    const { driver } = plugged();
    driver.start();
    const unaligned = Array.from({ length: REG.Config }, (_, offset) => offset).filter(
      (at) => !READABLE.includes(at),
    );
    expect(unaligned.filter((offset) => driver.read(offset) !== 0)).toEqual([]);
  });

  it('of other widths or places change nothing', () => {
    const { driver, device } = plugged();
    device.onKick = echo;
    driver.start();
    const before = READABLE.map((register) => driver.read(register));
    for (const width of [1, 2, 8]) {
      for (let offset = 0; offset + width <= REG.Config; offset += 1) void driver.write(offset, 0, width);
    }
    for (let offset = 0; offset < REG.Config; offset += 1) if (offset % 4 !== 0) void driver.write(offset, 0);
    for (const offset of [0x018, 0x01c, 0x02c, 0x03c, 0x040, 0x048, 0x054, 0x068, 0x074, 0x0c0, 0x0f8]) {
      void driver.write(offset, 0xffff_ffff);
    }
    expect(READABLE.map((register) => driver.read(register))).toEqual(before);
    expect(device.calls).toEqual(['activate']);
  });

  it('to write-only registers read 0', () => {
    const { driver } = plugged();
    driver.start();
    const writeOnly = [
      REG.DeviceFeaturesSel,
      REG.DriverFeatures,
      REG.DriverFeaturesSel,
      REG.QueueSel,
      REG.QueueNum,
    ];
    for (const register of [
      ...writeOnly,
      REG.QueueNotify,
      REG.InterruptACK,
      REG.QueueDescLow,
      REG.QueueDeviceHigh,
      REG.SHMSel,
    ]) {
      expect(driver.read(register)).toBe(0);
    }
  });
});

describe('feature bits', () => {
  it('are offered in two halves; further ones are 0', () => {
    const { driver } = plugged({ features: (1n << 50n) | 5n });
    expect(driver.offered).toBe((1n << 50n) | 5n | INDIRECT_DESC | EVENT_IDX | VERSION_1);
    for (const half of [2, 3, 0xffff_ffff]) {
      void driver.write(REG.DeviceFeaturesSel, half);
      expect(driver.read(REG.DeviceFeatures)).toBe(0);
    }
  });

  it('are replaced half by half, not added to', () => {
    const { driver, device } = plugged();
    const seen: bigint[] = [];
    device.acceptsFeatures = (features) => seen.push(features) > 0;
    driver.begin();
    driver.acceptFeatures(0xffff_ffff_ffff_ffffn);
    driver.acceptFeatures(VERSION_1 | 1n);
    expect(driver.setStatus(ST.FEATURES_OK)).toBe(ST.ACKNOWLEDGE | ST.DRIVER | ST.FEATURES_OK);
    expect(seen).toEqual([VERSION_1 | 1n]);
  });

  it('of halves that do not exist are ignored', () => {
    const { driver, device } = plugged();
    driver.begin();
    driver.acceptFeatures(VERSION_1);
    for (const half of [2, 32, 0xffff_ffff]) {
      void driver.write(REG.DriverFeaturesSel, half);
      void driver.write(REG.DriverFeatures, 0xffff_ffff);
    }
    driver.setStatus(ST.FEATURES_OK);
    driver.setStatus(ST.DRIVER_OK);
    expect(device.session!.features).toBe(VERSION_1);
  });

  it.each([
    { what: 'one that was not offered', features: VERSION_1 | 0b10n },
    { what: 'one above 2^32 that was not offered', features: VERSION_1 | (1n << 33n) },
    { what: 'all', features: 0xffff_ffff_ffff_ffffn },
    { what: 'none, so not VERSION_1', features: 0n },
    { what: 'those offered without VERSION_1', features: INDIRECT_DESC | 5n },
  ])('refuse FEATURES_OK with $what; others may be tried', ({ features }) => {
    const { driver } = plugged();
    driver.begin();
    driver.acceptFeatures(features);
    expect(driver.setStatus(ST.FEATURES_OK)).toBe(ST.ACKNOWLEDGE | ST.DRIVER);
    driver.acceptFeatures(VERSION_1);
    expect(driver.setStatus(ST.FEATURES_OK) & ST.FEATURES_OK).not.toBe(0);
  });

  it('refuse FEATURES_OK when the device does not like them', () => {
    const { driver, device } = plugged();
    device.acceptsFeatures = (features) => (features & 1n) === 0n;
    driver.begin();
    expect(() => driver.negotiate()).toThrow('features refused');
    driver.negotiate(0b100n);
    expect(driver.status & ST.FEATURES_OK).not.toBe(0);
  });

  it('stay as they are after FEATURES_OK', () => {
    const { driver, device } = plugged();
    driver.begin();
    driver.negotiate(1n);
    driver.acceptFeatures(VERSION_1 | 5n);
    driver.setStatus(ST.DRIVER_OK);
    expect(device.session!.features).toBe(VERSION_1 | 1n);
  });

  it('are forgotten by a reset', () => {
    const { driver } = plugged();
    driver.start();
    void driver.reset();
    driver.begin();
    expect(driver.setStatus(ST.FEATURES_OK) & ST.FEATURES_OK).toBe(0);
  });
});

describe('status', () => {
  const STEPS = [ST.ACKNOWLEDGE, ST.DRIVER, ST.FEATURES_OK, ST.DRIVER_OK];
  const ram = new GuestRam();
  /** A driver that got `count` steps far. */
  const upTo = (count: number): FakeDriver => {
    const { driver } = plug(new ProbeDevice(), { ram });
    driver.acceptFeatures(VERSION_1);
    for (const bit of STEPS.slice(0, count)) driver.setStatus(bit);
    return driver;
  };
  const reached = [0, 1, 3, 11, 15];

  it.each(reached.map((status, count) => ({ status, count })))(
    'from $status: of all 256 values, exactly the next step, the same, 0 and FAILED have an effect',
    ({ status, count }) => {
      const wrong: string[] = [];
      for (let value = 0; value < 256; value += 1) {
        const driver = upTo(count);
        void driver.write(REG.Status, value);
        const failed = value & ST.FAILED;
        const wanted = value & ~(ST.FAILED | ST.NEEDS_RESET);
        const isNext = wanted === reached[count + 1];
        const expected = value === 0 ? 0 : (isNext ? wanted : status) | failed;
        if (driver.status !== expected) wrong.push(`${status} → ${value}: ${driver.status}`);
      }
      expect(upTo(count).status).toBe(status);
      expect(wrong).toEqual([]);
    },
  );

  it('never lets a driver set or clear DEVICE_NEEDS_RESET', () => {
    const { driver, device } = plugged();
    driver.start();
    void driver.write(REG.Status, RUNNING | ST.NEEDS_RESET);
    expect(driver.status).toBe(RUNNING);
    device.onKick = (index, session) => void session.queues[index]!.pop();
    driver.queue().offer(99);
    driver.queue().notify();
    void driver.write(REG.Status, RUNNING);
    expect(driver.status).toBe(RUNNING | ST.NEEDS_RESET);
  });

  it('takes no value above 255 for a step', () => {
    const driver = upTo(0);
    void driver.write(REG.Status, 0x101);
    expect(driver.status).toBe(0);
  });

  it('of a driver that failed serves no kicks', () => {
    const { driver, device } = plugged();
    driver.start();
    driver.setStatus(ST.FAILED);
    driver.queue().notify();
    expect(device.calls).toEqual(['activate']);
  });
});

describe('queue registers', () => {
  it('QueueNumMax is the selected queue`s most entries, 0 where there is no queue', () => {
    const { driver } = plugged({ queueSizes: [8, 16, 0x8000] });
    const most = [0, 1, 2, 3, 0x8000_0000, 0xffff_ffff].map((index) => {
      void driver.write(REG.QueueSel, index);
      return driver.read(REG.QueueNumMax);
    });
    expect(most).toEqual([8, 16, 0x8000, 0, 0, 0]);
  });

  it('of a queue that does not exist do nothing and read 0', () => {
    const { driver, device } = plugged();
    driver.begin();
    driver.negotiate();
    void driver.write(REG.QueueSel, 2);
    void driver.write(REG.QueueNum, 8);
    driver.placeQueue(0, 0, 0);
    void driver.write(REG.QueueReady, 1);
    expect(driver.read(REG.QueueReady)).toBe(0);
    driver.setStatus(ST.DRIVER_OK);
    expect(device.session!.queues).toEqual([undefined, undefined]);
  });

  it('take addresses in halves, each replaced and not added to', () => {
    const { driver, device } = plugged();
    driver.begin();
    driver.negotiate();
    const { size, desc, avail, used } = driver.setUpQueue(0, 8);
    void driver.write(REG.QueueReady, 0);
    driver.placeQueue(2 ** 52 - 1, 2 ** 52 - 1, 2 ** 52 - 1);
    driver.placeQueue(desc, avail, used);
    void driver.write(REG.QueueReady, 1);
    driver.setStatus(ST.DRIVER_OK);
    expect(device.session!.queues[0]!.layout).toEqual({ size, desc, avail, used });
  });

  it('are closed while the queue is ready', () => {
    const { driver, device } = plugged();
    driver.begin();
    driver.negotiate();
    const { size, desc, avail, used } = driver.setUpQueue(0, 8);
    void driver.write(REG.QueueNum, 4);
    driver.placeQueue(0, 0, 0);
    driver.setStatus(ST.DRIVER_OK);
    expect(device.session!.queues[0]!.layout).toEqual({ size, desc, avail, used });
  });

  it.each([
    { when: 'before FEATURES_OK', steps: 0 },
    { when: 'after DRIVER_OK', steps: 2 },
  ])('are closed $when', ({ steps }) => {
    const { driver, device } = plugged();
    driver.begin();
    if (steps > 0) driver.negotiate();
    if (steps > 1) driver.setStatus(ST.DRIVER_OK);
    driver.setUpQueue(0, 8);
    expect(driver.read(REG.QueueReady)).toBe(0);
    if (steps === 0) {
      driver.negotiate();
      driver.setStatus(ST.DRIVER_OK);
    }
    expect(device.session!.queues).toEqual([undefined, undefined]);
  });

  it('forget what was written before FEATURES_OK', () => {
    const { driver, faults } = plugged();
    driver.begin();
    driver.setUpQueue(0, 8);
    driver.negotiate();
    void driver.write(REG.QueueReady, 1);
    driver.setStatus(ST.DRIVER_OK);
    expect(faults.map(({ message }) => message)).toEqual(['queue of 0 entries (virtio 1.2 §2.7)']);
  });

  it('QueueReady takes 0 and 1 only', () => {
    const { driver } = plugged();
    driver.begin();
    driver.negotiate();
    driver.setUpQueue(0, 8);
    for (const value of [2, 0xffff_ffff, 0x100]) {
      void driver.write(REG.QueueReady, value);
      expect(driver.read(REG.QueueReady)).toBe(1);
    }
    void driver.write(REG.QueueReady, 0);
    expect(driver.read(REG.QueueReady)).toBe(0);
    void driver.write(REG.QueueReady, 2);
    expect(driver.read(REG.QueueReady)).toBe(0);
  });

  it('set up each queue by itself', () => {
    const { driver, device } = plugged();
    driver.start({ queues: [1], queueSize: 4 });
    expect(device.session!.queues.map((queue) => queue?.layout.size)).toEqual([undefined, 4]);
  });

  it.each([
    { what: 'more entries than QueueNumMax', size: 16, clause: '§4.2.2' },
    { what: 'no entries', size: 0, clause: '§2.7' },
    { what: 'entries that are no power of two', size: 6, clause: '§2.7' },
  ])('with $what end in DEVICE_NEEDS_RESET', ({ size, clause }) => {
    const { driver, device, faults } = plugged();
    driver.begin();
    driver.negotiate();
    driver.setUpQueue(0, 8);
    void driver.write(REG.QueueReady, 0);
    void driver.write(REG.QueueNum, size);
    void driver.write(REG.QueueReady, 1);
    expect(driver.setStatus(ST.DRIVER_OK)).toBe(RUNNING | ST.NEEDS_RESET);
    expect(faults.map((fault) => fault.clause)).toEqual([`virtio 1.2 ${clause}`]);
    expect(device.calls).toEqual([]);
  });

  it.each([
    { what: 'the descriptor table', places: [2 ** 52, 0x4000_1000, 0x4000_2000] },
    { what: 'the available ring', places: [0x4000_0000, 2 ** 52, 0x4000_2000] },
    { what: 'the used ring', places: [0x4000_0000, 0x4000_1000, 2 ** 63] },
    { what: 'a ring outside memory', places: [0x4000_0000, 0x1000, 0x4000_2000] },
  ])('with $what where no memory is end in DEVICE_NEEDS_RESET', ({ places: [desc, avail, used] }) => {
    const { driver, device, faults } = plugged();
    driver.begin();
    driver.negotiate();
    driver.setUpQueue(0, 8);
    void driver.write(REG.QueueReady, 0);
    driver.placeQueue(desc!, avail!, used!);
    void driver.write(REG.QueueReady, 1);
    expect(driver.setStatus(ST.DRIVER_OK)).toBe(RUNNING | ST.NEEDS_RESET);
    expect(faults).toHaveLength(1);
    expect(device.calls).toEqual([]);
    driver.start();
    expect(device.calls).toEqual(['activate']);
  });
});

describe('the configuration space', () => {
  it('is read in any width at any place, zeros behind its end', () => {
    const { driver, device } = plugged({ config: 6 });
    device.config!.bytes.set([1, 2, 3, 4, 5, 6]);
    expect([driver.config(0), driver.config(1, 2), driver.config(5, 1), driver.config(4)]).toEqual([
      0x0403_0201, 0x0302, 6, 0x0605,
    ]);
    expect(driver.read(REG.Config + 2, 8)).toBe(0x0605_0403);
    expect(driver.config(6)).toBe(0);
    expect(driver.read(0xffc)).toBe(0);
  });

  it('of a device without one reads 0, and writes mean nothing', () => {
    const { driver, device } = plugged();
    expect(driver.config(0)).toBe(0);
    void driver.write(REG.Config, 1);
    expect(device.calls).toEqual([]);
  });

  it('passes writes to the device, but none across its end', () => {
    const { driver, device } = plugged({ config: 8 });
    driver.start();
    void driver.write(REG.Config + 3, 0x0201, 2);
    void driver.write(REG.Config + 4, 1);
    void driver.write(REG.Config + 5, 1);
    void driver.write(REG.Config + 8, 1, 1);
    void driver.write(0xffc, 1);
    expect(device.calls).toEqual(['activate', 'write 3: 1,2', 'write 4: 1,0,0,0']);
  });

  it('counts each change in ConfigGeneration, modulo 2^32', () => {
    const { driver, device } = plugged({ config: 8 });
    const before = driver.read(REG.ConfigGeneration);
    device.config!.update((view) => view.setUint32(0, 7, true));
    expect([driver.config(0), driver.read(REG.ConfigGeneration)]).toEqual([7, before + 1]);
    device.config!.set(0, Uint8Array.of(9));
    expect([driver.config(0), driver.read(REG.ConfigGeneration)]).toEqual([9, before + 1]);
  });

  it('keeps its generation over a reset, which changes nothing in it', () => {
    const { driver, device } = plugged({ config: 8 });
    device.config!.update(() => {});
    void driver.reset();
    expect(driver.read(REG.ConfigGeneration)).toBe(1);
  });
});

describe('the register page', () => {
  it('answers InterruptStatus and InterruptACK as the transport does', () => {
    const { driver, device, page } = plugged();
    device.onKick = echo;
    driver.start();
    driver.queue().post([Uint8Array.of(1)]);
    expect(page.read(WINDOW_BASE + REG.InterruptStatus, 4, 'mmio')).toBe(1);
    expect(driver.read(REG.InterruptStatus)).toBe(1);
    page.write(WINDOW_BASE + REG.InterruptACK, 2, 4, 'mmio');
    expect(driver.read(REG.InterruptStatus)).toBe(1);
    page.write(WINDOW_BASE + REG.InterruptACK, 0xffff_ffff, 4, 'mmio');
    expect(driver.read(REG.InterruptStatus)).toBe(0);
  });

  it('leaves every other register, width and direction to the transport', () => {
    const { page } = plugged();
    const answered: string[] = [];
    for (let offset = 0; offset < 0x1000; offset += 1) {
      for (const width of [1, 2, 4] as const) {
        const at = WINDOW_BASE + offset;
        if (page.read(at, width, 'mmio') !== undefined) answered.push(`read ${width} at ${offset}`);
        if (page.write(at, 0, width, 'mmio')) answered.push(`write ${width} at ${offset}`);
      }
    }
    expect(answered).toEqual([`read 4 at ${REG.InterruptStatus}`, `write 4 at ${REG.InterruptACK}`]);
  });
});
