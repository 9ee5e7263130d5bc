/** The console device: output piece by piece with back-pressure, input as room allows, size, emergency output, repeated interrupts. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ConsoleDevice } from '../../../src/devices/console/device.js';
import { CONFIG_CHANGE, REG, ST } from '../../support/fake-driver.js';
import { plug, turn } from '../../support/plug.js';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const RX = 0;
const TX = 1;

/** A device whose reader takes `room` bytes, then is full. */
function started(room = Number.POSITIVE_INFINITY) {
  const reader = { text: '', room, writes: [] as number[] };
  const output = {
    write: (bytes: Uint8Array): boolean => {
      reader.text += Buffer.from(bytes).toString('latin1');
      reader.writes.push(bytes.length);
      reader.room -= bytes.length;
      return reader.room > 0;
    },
    onDrain: undefined as (() => void) | undefined,
  };
  const plugged = plug(new ConsoleDevice('console', output));
  plugged.driver.start();
  const drain = (more: number): void => {
    reader.room = more;
    output.onDrain?.();
  };
  return { ...plugged, reader, drain, rx: plugged.driver.queue(RX), tx: plugged.driver.queue(TX) };
}

afterEach(() => {
  vi.useRealTimers();
});

describe('a console device', () => {
  it('is device 3 with two queues, a size and an emergency register, without ports', () => {
    const { driver } = started();
    expect([driver.read(REG.DeviceID), Number(driver.offered & 7n)]).toEqual([3, 0b101]);
    expect([driver.config(0, 2), driver.config(2, 2), driver.config(4)]).toEqual([80, 25, 1]);
    void driver.write(REG.QueueSel, 2);
    expect(driver.read(REG.QueueNumMax)).toBe(0);
  });

  it('tells the driver of a new size', () => {
    const { driver, device } = started();
    const generation = driver.read(REG.ConfigGeneration);
    device.resize(132, 43);
    expect([driver.config(0, 2), driver.config(2, 2)]).toEqual([132, 43]);
    expect(driver.read(REG.ConfigGeneration)).not.toBe(generation);
    expect(driver.handleInterrupt()).toBe(CONFIG_CHANGE);
  });

  it('takes nothing but emergency output in its configuration', () => {
    const { driver, reader } = started();
    void driver.write(REG.Config, 0xffff, 2);
    void driver.write(REG.Config + 4, 7);
    expect([driver.config(0, 2), driver.config(4), reader.text]).toEqual([80, 1, '']);
    void driver.write(REG.Config + 8, 0x4142_4344);
    void driver.write(REG.Config + 8, 0x45, 1);
    expect(reader.text).toBe('DE');
  });
});

describe('output', () => {
  it('goes to the reader in order, and its buffers come back with nothing written', async () => {
    const { tx, reader } = started();
    tx.add([text('hel'), text('lo ')]);
    tx.add([text('world')]);
    tx.kick();
    expect(reader.text).toBe('hello world');
    expect((await tx.take(2)).map(({ length }) => length)).toEqual([0, 0]);
  });

  it('waits for its reader: a buffer comes back when all of it has gone', async () => {
    const { tx, reader, drain } = started(4);
    tx.add([text('abcd'), text('efgh')]);
    tx.add([text('ijkl')]);
    tx.kick();
    await turn();
    expect([reader.text, tx.collect().length]).toEqual(['abcd', 0]);
    tx.notify();
    expect(reader.text).toBe('abcd');
    drain(4);
    expect(reader.text).toBe('abcdefgh');
    expect(await tx.take()).toHaveLength(1);
    drain(100);
    expect(reader.text).toBe('abcdefghijkl');
    expect(await tx.take()).toHaveLength(1);
  });

  it('is handed on in pieces of 16 KiB, 64 KiB a turn, however its descriptors overlap', async () => {
    const { tx, ram, reader } = started();
    const piece = { at: ram.alloc(40_000), length: 40_000 };
    tx.post([piece, piece, piece]);
    expect(reader.writes).toEqual([16_384, 16_384, 7232, 16_384, 16_384]);
    await tx.take();
    expect(reader.writes.reduce((sum, length) => sum + length, 0)).toBe(120_000);
  });

  it('of no bytes comes back, and cannot hold the event loop', async () => {
    const { tx, reader } = started();
    tx.post([new Uint8Array()]);
    tx.post([1]);
    expect(await tx.take(2)).toHaveLength(2);
    expect(reader.writes).toEqual([]);
  });

  it('of a driver that was reset is forgotten, what the next one says is not', async () => {
    const { driver, tx, reader, drain } = started(2);
    tx.post([text('ab'), text('cd')]);
    void driver.reset();
    drain(100);
    driver.start();
    driver.queue(TX).post([text('ef')]);
    await driver.queue(TX).take();
    expect(reader.text).toBe('abef');
  });
});

describe('input', () => {
  it('fills the buffers there are, each used as soon as it holds something', async () => {
    const { rx, device } = started();
    const posted = [rx.add([4]), rx.add([2, 2])];
    rx.kick();
    expect(device.receive(text('hello world'))).toBe(8);
    expect((await rx.take(2)).map(({ length }) => length)).toEqual([4, 4]);
    expect(posted.map((each) => Buffer.from(each.written()).toString())).toEqual(['hell', 'o wo']);
    expect(device.receive(text('rld'))).toBe(0);
  });

  it('is asked for when the driver makes room', () => {
    const { rx, device } = started();
    let asked = 0;
    device.onRoom = () => {
      asked += 1;
    };
    expect(device.receive(text('x'))).toBe(0);
    rx.post([8]);
    expect(asked).toBe(1);
    expect(device.receive(text('x'))).toBe(1);
  });

  it('waits while there is no driver', () => {
    const { driver, device } = started();
    void driver.reset();
    expect(device.receive(text('x'))).toBe(0);
  });

  it('stops at 64 buffers a call, also when they have no room', async () => {
    const { rx, device, faults } = started();
    rx.add([0]);
    for (let index = 0; index < 63; index += 1) rx.offer(0);
    expect(device.receive(text('x'))).toBe(0);
    await turn();
    expect([rx.usedIdx, faults]).toEqual([64, []]);
  });

  it('of a device that stopped goes nowhere, and is no further fault', () => {
    const { driver, rx, device, faults } = started();
    rx.offer(99);
    expect([device.receive(text('x')), driver.status & ST.NEEDS_RESET]).toEqual([0, ST.NEEDS_RESET]);
    expect([device.receive(text('x')), faults.length]).toEqual([0, 1]);
  });

  it('is announced again, less and less often, until the guest says something', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { rx, tx, irq, device } = started();
    rx.post([8]);
    rx.post([8]);
    device.receive(text('x'));
    await turn();
    irq.take();
    vi.advanceTimersByTime(99);
    expect(irq.take()).toBe(0);
    vi.advanceTimersByTime(1);
    expect(irq.take()).toBe(1);
    vi.advanceTimersByTime(200);
    expect(irq.take()).toBe(1);
    tx.post([text('y')]);
    await turn();
    irq.take();
    vi.advanceTimersByTime(100_000);
    expect([irq.take(), vi.getTimerCount()]).toEqual([0, 0]);
  });
});
