/** What virtio 1.2 requires of every device: status, features, reset, configuration (§2.1 to §2.5), reserved features (§6). */
import { describe, expect, it } from 'vitest';
import {
  CONFIG_CHANGE,
  EVENT_IDX,
  INDIRECT_DESC,
  REG,
  RUNNING,
  ST,
  VERSION_1,
} from '../support/fake-driver.js';
import { plug, turn } from '../support/plug.js';
import { DEVICES } from '../support/virtio-devices.js';

/** Feature → the one it needs: §5.1.3.1, §5.2.5.2 and §6, for the bits that devices here may offer. */
const NEEDS: Readonly<Record<string, readonly (readonly [bigint, bigint])[]>> = {
  blk: [[1n << 11n, 1n << 9n]], // CONFIG_WCE needs FLUSH
  // CTRL_RX, CTRL_RX_EXTRA, GUEST_ANNOUNCE and CTRL_MAC_ADDR need CTRL_VQ
  net: [18n, 20n, 21n, 23n].map((bit) => [1n << bit, 1n << 17n]),
};

describe.each(DEVICES)('$name', ({ name, make, queue, request, length }) => {
  const plugged = () => plug(make());
  const started = () => {
    const all = plugged();
    all.driver.start();
    return all;
  };

  describe('§2.1.2 Device Status Field', () => {
    it('reads 0 upon reset, from any state', () => {
      const { driver } = plugged();
      expect(driver.status).toBe(0);
      driver.start();
      void driver.reset();
      expect(driver.status).toBe(0);
      driver.begin();
      driver.setStatus(ST.FAILED);
      void driver.reset();
      expect(driver.status).toBe(0);
    });

    it('before DRIVER_OK no buffer is consumed and no notification sent', async () => {
      const { driver, irq, ram, device } = plugged();
      driver.begin();
      driver.negotiate();
      driver.setUpQueues();
      driver.queue(queue).add(request);
      const before = ram.bytes.slice();
      driver.queue(queue).notify();
      device.config?.update(() => {});
      await turn();
      expect(Buffer.compare(ram.bytes, before)).toBe(0);
      expect([irq.count, driver.read(REG.InterruptStatus)]).toEqual([0, 0]);
    });

    it('an error sets DEVICE_NEEDS_RESET, and with DRIVER_OK a configuration change notification follows', () => {
      const { driver, irq } = started();
      const seen: number[] = [];
      irq.onRaise = () => void seen.push(driver.status & ST.NEEDS_RESET);
      driver.queue(queue).offer(0x7fff);
      driver.queue(queue).notify();
      expect(driver.status).toBe(RUNNING | ST.NEEDS_RESET);
      expect(seen).toEqual([ST.NEEDS_RESET]);
      expect(driver.handleInterrupt()).toBe(CONFIG_CHANGE);
    });
  });

  describe('§2.2.2 Feature Bits', () => {
    it('no feature is offered without the one it needs', () => {
      const { offered } = plugged().driver;
      for (const [feature, needed] of NEEDS[name] ?? []) {
        if (offered & feature) expect(offered & needed).toBe(needed);
      }
    });

    it('every valid subset of what is offered is accepted', () => {
      const { driver } = plugged();
      const bits = Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit)).filter(
        (bit) => driver.offered & bit,
      );
      const refused: string[] = [];
      for (let choice = 0; choice < 2 ** bits.length; choice += 1) {
        const wanted = bits.reduce((sum, bit, index) => ((choice >> index) & 1 ? sum | bit : sum), 0n);
        if ((NEEDS[name] ?? []).some(([feature, needed]) => wanted & feature && !(wanted & needed))) continue;
        void driver.reset();
        driver.begin();
        driver.acceptFeatures(wanted);
        const accepted = (driver.setStatus(ST.FEATURES_OK) & ST.FEATURES_OK) !== 0;
        if (accepted !== ((wanted & VERSION_1) !== 0n)) refused.push(wanted.toString(16));
      }
      expect(refused).toEqual([]);
    });

    it('FEATURES_OK stays clear for any bit that was not offered', () => {
      const { driver } = plugged();
      const accepted: number[] = [];
      for (let bit = 0; bit < 64; bit += 1) {
        if (driver.offered & (1n << BigInt(bit))) continue;
        void driver.reset();
        driver.begin();
        driver.acceptFeatures(VERSION_1 | (1n << BigInt(bit)));
        if (driver.setStatus(ST.FEATURES_OK) & ST.FEATURES_OK) accepted.push(bit);
      }
      expect(accepted).toEqual([]);
    });

    it('what was negotiated once is accepted again after a reset', () => {
      const { driver } = started();
      for (let time = 0; time < 3; time += 1) {
        driver.start();
        expect(driver.status).toBe(RUNNING);
      }
    });
  });

  describe('§2.4.1 Device Reset', () => {
    it('ends with status 0 and from then on nothing is notified and no queue touched', async () => {
      const { driver, device, irq, ram } = started();
      const target = driver.queue(queue);
      target.add(request);
      await driver.reset();
      expect(driver.status).toBe(0);
      irq.take();
      const before = ram.bytes.slice();
      target.notify();
      device.config?.update(() => {});
      await turn();
      await turn();
      expect(Buffer.compare(ram.bytes, before)).toBe(0);
      expect([irq.count, driver.read(REG.InterruptStatus)]).toEqual([0, 0]);
    });

    it('lets the driver start over', async () => {
      const { driver } = started();
      await driver.restart();
      driver.queue(queue).post(request);
      expect(await driver.queue(queue).take()).toMatchObject([{ length }]);
    });
  });

  describe('§2.5.2 Device Configuration Space', () => {
    it('every field may be read before FEATURES_OK, those of optional features too', () => {
      const { driver, device } = plugged();
      const { size = 0, bytes = new Uint8Array() } = device.config ?? {};
      const read = Array.from({ length: size }, (_, at) => driver.config(at, 1));
      expect(read).toEqual([...bytes]);
      driver.begin();
      expect(Array.from({ length: size }, (_, at) => driver.config(at, 1))).toEqual(read);
    });
  });

  describe('§6.2 Reserved Feature Bits', () => {
    it('VERSION_1 is offered, and a driver that does not accept it gets nowhere', () => {
      const { driver } = plugged();
      expect(driver.offered & VERSION_1).toBe(VERSION_1);
      driver.begin();
      driver.acceptFeatures(driver.offered & ~VERSION_1);
      expect(driver.setStatus(ST.FEATURES_OK) & ST.FEATURES_OK).toBe(0);
      expect(driver.setStatus(ST.DRIVER_OK) & ST.DRIVER_OK).toBe(0);
    });

    it('of the reserved bits 24 to 49 only what the transport does is offered', () => {
      const reserved = ((1n << 26n) - 1n) << 24n;
      expect(plugged().driver.offered & reserved).toBe(INDIRECT_DESC | EVENT_IDX | VERSION_1);
    });
  });
});
