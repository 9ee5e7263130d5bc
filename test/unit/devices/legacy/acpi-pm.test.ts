import { describe, expect, it } from 'vitest';
import { ACPI_PM, AcpiPm } from '../../../../src/devices/legacy/acpi-pm.js';

const { offsets, events } = ACPI_PM;

function setUp() {
  const log: string[] = [];
  const pm = new AcpiPm({
    irq: { raise: () => void log.push('irq') },
    onPowerOff: () => void log.push('off'),
    onReset: () => void log.push('reset'),
  });
  const read = (offset: number): number => {
    const data = Uint8Array.of(0xaa);
    pm.read(offset, data);
    return data[0]!;
  };
  const write = (offset: number, value: number): void => pm.write(offset, Uint8Array.of(value));
  return { log, pm, read, write };
}

describe('the sleep control register (ACPI 6.5 §4.8.3.7)', () => {
  const sleep = (type: number): number => (1 << 5) | (type << 2);

  it('switches off for SLP_EN with the type of S5', () => {
    const { log, write } = setUp();
    write(offsets.SLEEP_CONTROL, sleep(ACPI_PM.s5));
    expect(log).toEqual(['off']);
  });

  it('does nothing without SLP_EN', () => {
    const { log, read, write } = setUp();
    write(offsets.SLEEP_CONTROL, ACPI_PM.s5 << 2);
    expect(log).toEqual([]);
    expect(read(offsets.SLEEP_STATUS)).toBe(0);
  });

  it.each([0, 1, 3, 4, 6, 7])('wakes up at once from type %i, and forgets it when told', (type) => {
    const { log, read, write } = setUp();
    write(offsets.SLEEP_CONTROL, sleep(type));
    expect(log).toEqual([]);
    expect(read(offsets.SLEEP_STATUS)).toBe(0x80);
    write(offsets.SLEEP_STATUS, 0);
    expect(read(offsets.SLEEP_STATUS)).toBe(0x80);
    write(offsets.SLEEP_STATUS, 0x80);
    expect(read(offsets.SLEEP_STATUS)).toBe(0);
  });
});

describe('the reset register (§4.8.3.6)', () => {
  it('takes only its value', () => {
    const { log, write } = setUp();
    write(offsets.RESET, ACPI_PM.resetValue + 1);
    write(offsets.RESET, 0);
    expect(log).toEqual([]);
    write(offsets.RESET, ACPI_PM.resetValue);
    expect(log).toEqual(['reset']);
  });
});

describe('the event register', () => {
  it('tells of the power button and the shutdown request once', () => {
    const { log, pm, read } = setUp();
    pm.powerButton();
    expect(log).toEqual(['irq']);
    expect(pm.pending).toBe(true);
    expect(read(offsets.EVENTS)).toBe(events.POWER_BUTTON | events.SHUTDOWN_REQUEST);
    expect(pm.pending).toBe(false);
    expect(read(offsets.EVENTS)).toBe(0);
  });

  it('gathers events that the guest has not read', () => {
    const { pm, read } = setUp();
    pm.newGeneration();
    pm.powerButton();
    expect(read(offsets.EVENTS)).toBe(7);
  });

  it('is raised again until it is read', () => {
    const { log, pm, read } = setUp();
    pm.remind();
    expect(log).toEqual([]);
    pm.newGeneration();
    pm.remind();
    expect(log).toEqual(['irq', 'irq']);
    read(offsets.EVENTS);
    pm.remind();
    expect(log).toEqual(['irq', 'irq']);
  });

  it('cannot be written', () => {
    const { pm, read, write } = setUp();
    pm.newGeneration();
    write(offsets.EVENTS, 0xff);
    expect(read(offsets.EVENTS)).toBe(events.NEW_GENERATION);
  });
});

describe('the listening register', () => {
  it('says when the guest is ready to be asked', () => {
    const { pm, write } = setUp();
    expect(pm.listening).toBe(false);
    write(offsets.LISTENING, 1);
    expect(pm.listening).toBe(true);
    write(offsets.LISTENING, 0);
    expect(pm.listening).toBe(false);
  });
});

describe('accesses of other widths', () => {
  it('have zeros above the register', () => {
    const { pm } = setUp();
    pm.newGeneration();
    const data = new Uint8Array(4).fill(0xff);
    pm.read(offsets.EVENTS, data);
    expect([...data]).toEqual([events.NEW_GENERATION, 0, 0, 0]);
  });
});
