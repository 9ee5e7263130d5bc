/** What virtio 1.2 requires of a device's registers in memory (§4.2). */
import { describe, expect, it } from 'vitest';
import { BlkDevice } from '../../src/devices/blk/device.js';
import { header, T } from '../support/blk-driver.js';
import { CONFIG_CHANGE, REG, USED_BUFFER } from '../support/fake-driver.js';
import { plug, turn } from '../support/plug.js';
import { TestDisk } from '../support/test-disk.js';
import { DEVICES } from '../support/virtio-devices.js';

describe.each(DEVICES)('$name', ({ make, queue, request }) => {
  describe('§4.2.2.1 MMIO Device Register Layout', () => {
    const started = () => {
      const all = plug(make());
      all.driver.start();
      return all;
    };

    it('MagicValue is 0x74726976 and Version is 2', () => {
      const { driver } = started();
      expect([driver.read(REG.MagicValue), driver.read(REG.Version)]).toEqual([0x7472_6976, 2]);
    });

    it('each event has its bit in InterruptStatus until it is acknowledged; other bits are 0', async () => {
      const { driver, device } = started();
      expect(driver.read(REG.InterruptStatus)).toBe(0);
      driver.queue(queue).post(request);
      await driver.queue(queue).take();
      expect(driver.read(REG.InterruptStatus)).toBe(USED_BUFFER);
      device.config?.update(() => {});
      const both = device.config ? USED_BUFFER | CONFIG_CHANGE : USED_BUFFER;
      expect(driver.read(REG.InterruptStatus)).toBe(both);
      void driver.write(REG.InterruptACK, CONFIG_CHANGE);
      expect(driver.read(REG.InterruptStatus)).toBe(USED_BUFFER);
      void driver.write(REG.InterruptACK, USED_BUFFER);
      expect(driver.read(REG.InterruptStatus)).toBe(0);
    });

    it('a reset clears InterruptStatus and every QueueReady', async () => {
      const { driver, device } = started();
      driver.queue(queue).post(request);
      await driver.queue(queue).take();
      const ready = (): number[] =>
        device.queueSizes.map((_, index) => {
          void driver.write(REG.QueueSel, index);
          return driver.read(REG.QueueReady);
        });
      expect(ready()).toEqual(device.queueSizes.map(() => 1));
      await driver.reset();
      expect(driver.read(REG.InterruptStatus)).toBe(0);
      expect(ready()).toEqual(device.queueSizes.map(() => 0));
    });

    it('ConfigGeneration changes with the configuration, and only then', () => {
      const { driver, device } = started();
      const generation = driver.read(REG.ConfigGeneration);
      expect(driver.read(REG.ConfigGeneration)).toBe(generation);
      const seen = new Set([generation]);
      for (let change = 1; device.config && change < 300; change += 1) {
        device.config.update(() => {});
        seen.add(driver.read(REG.ConfigGeneration));
        expect(seen.size).toBe(change + 1);
      }
    });

    it('a queue whose QueueReady is 0 is not touched', async () => {
      const { driver, ram } = started();
      const target = driver.queue(queue);
      target.post(request);
      await target.take();
      target.add(request);
      void driver.write(REG.QueueSel, queue);
      void driver.write(REG.QueueReady, 0);
      const before = ram.bytes.slice();
      target.notify();
      await turn();
      expect(Buffer.compare(ram.bytes, before)).toBe(0);
    });
  });
});

describe('§4.2.2.1 MMIO Device Register Layout: the driver stops a queue (4.2.2.2)', () => {
  it('QueueReady reads 0 only when nothing of the queue is in flight any more, and the write takes as long', async () => {
    const disk = new TestDisk({ mode: 'held' });
    const { driver, ram } = plug(new BlkDevice('blk', { disk, queues: 2 }));
    driver.start();
    const target = driver.queue(0);
    const { pieces } = target.post([header(T.IN), 512, 1]);
    driver.queue(1).post([header(T.IN), 512, 1]);
    void driver.write(REG.QueueSel, 0);
    let stopped = false;
    const write = driver.write(REG.QueueReady, 0) as Promise<void>;
    void write.then(() => (stopped = true));
    const before = ram.bytes.slice();
    await turn();
    expect([driver.read(REG.QueueReady), stopped]).toEqual([1, false]);
    disk.release(0);
    await write;
    expect(driver.read(REG.QueueReady)).toBe(0);
    const [, first, status] = pieces;
    // The data came while the buffer was the device's; no status and no used entry, as the queue is stopped.
    before.set(disk.bytes.subarray(0, 512), first!.at - ram.base);
    expect(ram.at(status!.at, 1)[0]).toBe(before[status!.at - ram.base]);
    expect(Buffer.compare(ram.bytes, before)).toBe(0);
    // The other queue goes on.
    disk.release();
    expect(await driver.queue(1).take()).toHaveLength(1);
  });
});
