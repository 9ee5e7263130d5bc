/** What virtio 1.2 requires of a console device (§5.3). */
import { describe, expect, it } from 'vitest';
import { ConsoleDevice } from '../../src/devices/console/device.js';
import { REG } from '../support/fake-driver.js';
import { plug } from '../support/plug.js';

const EMERG_WR = 8;

describe('§5.3.5.1 Device Initialization', () => {
  const plugged = () => {
    const output: number[] = [];
    const write = (bytes: Uint8Array): boolean => output.push(...bytes) >= 0;
    return { ...plug(new ConsoleDevice('console', { write, onDrain: undefined })), output };
  };

  it('emerg_wr may be written even to a device that is not configured', () => {
    const { driver, output, faults } = plugged();
    void driver.write(REG.Config + EMERG_WR, 0x41);
    driver.start();
    void driver.write(REG.Config + EMERG_WR, 0x42);
    void driver.reset();
    void driver.write(REG.Config + EMERG_WR, 0x43);
    expect([output, faults]).toEqual([[0x41, 0x42, 0x43], []]);
  });

  it('the lower byte of what is written to emerg_wr is put out', () => {
    const { driver, output } = plugged();
    void driver.write(REG.Config + EMERG_WR, 0x1234_5644);
    expect(output).toEqual([0x44]);
  });
});
