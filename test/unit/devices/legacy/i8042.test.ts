import { describe, expect, it } from 'vitest';
import { Bus } from '../../../../src/bus/bus.js';
import { I8042 } from '../../../../src/devices/legacy/i8042.js';

/** The controller on a bus, with a driver's hands on ports 0x60 and 0x64. */
function setUp() {
  const bus = new Bus('pio');
  let resets = 0;
  new I8042(() => void (resets += 1)).claim(bus);
  const read = (port: number): number => {
    const data = Uint8Array.of(0xaa);
    void bus.access(port, data, false);
    return data[0]!;
  };
  const write = (port: number, value: number): void => void bus.access(port, Uint8Array.of(value), true);
  const full = (): boolean => (read(0x64) & 1) !== 0;
  /** A command that answers. */
  const ask = (command: number): number | undefined => {
    write(0x64, command);
    return full() ? read(0x60) : undefined;
  };
  return { bus, read, write, ask, full, resets: () => resets };
}

describe('the keyboard controller', () => {
  it('resets the machine by command 0xfe', () => {
    const { write, resets } = setUp();
    write(0x64, 0xfe);
    expect(resets()).toBe(1);
  });

  it('resets the machine by bit 0 of its output port, active low', () => {
    const { write, resets } = setUp();
    write(0x64, 0xd1);
    write(0x60, 0xdf);
    expect(resets()).toBe(0);
    write(0x64, 0xd1);
    write(0x60, 0xfe);
    expect(resets()).toBe(1);
  });

  it('is not reset by the same byte as data without the command', () => {
    const { write, resets } = setUp();
    write(0x60, 0xfe);
    expect(resets()).toBe(0);
  });

  it('is idle: not locked, its system flag set, nothing to read', () => {
    const { read } = setUp();
    expect(read(0x64)).toBe(0x14);
    expect(read(0x60)).toBe(0);
  });

  it('passes its self test, and finds nothing at either socket', () => {
    const { ask, full } = setUp();
    expect(ask(0xaa)).toBe(0x55);
    expect(ask(0xab)).toBe(0x01);
    expect(ask(0xa9)).toBe(0x01);
    expect(full()).toBe(false);
  });

  it('remembers its configuration byte', () => {
    const { ask, write } = setUp();
    expect(ask(0x20)).toBe(0x30);
    write(0x64, 0x60);
    write(0x60, 0x65);
    expect(ask(0x20)).toBe(0x65);
    write(0x60, 0xff); // no command waits for it
    expect(ask(0x20)).toBe(0x65);
  });

  it('tells its output port: not in reset, A20 open', () => expect(setUp().ask(0xd0)).toBe(0x03));

  it('echoes for the keyboard; for the mouse it answers at once with something else', () => {
    const { ask, write, read, full } = setUp();
    expect(ask(0xd2)).toBeUndefined();
    write(0x60, 0x5a);
    expect([full(), read(0x60)]).toEqual([true, 0x5a]);
    expect(ask(0xd3)).toBeUndefined();
    write(0x60, 0x5a);
    expect([full(), read(0x60)]).toEqual([true, 0xa5]);
    expect(full()).toBe(false);
  });

  it('answers nothing to commands it does not have', () => {
    const { ask, resets } = setUp();
    for (const command of [0xa7, 0xa8, 0xad, 0xae, 0xf0, 0x00]) expect(ask(command)).toBeUndefined();
    expect(resets()).toBe(0);
  });

  it('leaves the ports between its two to others', () => {
    const { bus } = setUp();
    expect([0x60, 0x61, 0x62, 0x63, 0x64].map((port) => bus.owner(port))).toEqual([
      'i8042',
      undefined,
      undefined,
      undefined,
      'i8042',
    ]);
  });
});
