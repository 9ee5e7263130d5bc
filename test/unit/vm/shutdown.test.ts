import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ACPI_PM, AcpiPm } from '../../../src/devices/legacy/acpi-pm.js';
import { askToShutDown } from '../../../src/vm/shutdown.js';

function setUp() {
  let edges = 0;
  const pm = new AcpiPm({ irq: { raise: () => void (edges += 1) }, onPowerOff() {}, onReset() {} });
  return { pm, edges: () => edges, take: () => pm.read(ACPI_PM.offsets.EVENTS, new Uint8Array(1)) };
}

describe('asking a guest to shut down', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('is done when the machine ends, and leaves no timer', async () => {
    const { pm, edges } = setUp();
    let end!: () => void;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const asked = askToShutDown(pm, ended, 1000);
    expect(edges()).toBe(1);
    end();
    expect(await asked).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('gives up after the timeout, and leaves no timer', async () => {
    const { pm } = setUp();
    const asked = askToShutDown(pm, new Promise(() => {}), 1000);
    await vi.advanceTimersByTimeAsync(999);
    expect(vi.getTimerCount()).toBeGreaterThan(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(await asked).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('raises the interrupt again only until the guest has looked', async () => {
    const { pm, edges, take } = setUp();
    const asked = askToShutDown(pm, new Promise(() => {}), 1000);
    await vi.advanceTimersByTimeAsync(350);
    const before = edges();
    expect(before).toBeGreaterThan(2);
    take();
    await vi.advanceTimersByTimeAsync(1000);
    expect(edges()).toBe(before);
    expect(await asked).toBe(false);
  });
});
