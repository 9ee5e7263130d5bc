import { describe, expect, it } from 'vitest';
import { Rtc } from '../../../../src/devices/legacy/rtc.js';

const B_24H = 0x02;
const B_BINARY = 0x04;

function clockAt(time: string) {
  let now = Date.parse(time);
  const rtc = new Rtc(() => now);
  const write = (register: number, value: number): void => {
    rtc.write(0, Uint8Array.of(register));
    rtc.write(1, Uint8Array.of(value));
  };
  const read = (register: number): number => {
    rtc.write(0, Uint8Array.of(register));
    const data = new Uint8Array(1);
    rtc.read(1, data);
    return data[0]!;
  };
  /** Century, year, month, day, weekday, hours, minutes, seconds. */
  const all = (): number[] => [0x32, 9, 8, 7, 6, 4, 2, 0].map(read);
  return { rtc, read, write, all, set: (text: string) => void (now = Date.parse(text)) };
}

describe('the clock', () => {
  it('tells the time in two decimal digits and 24 hours by default', () => {
    expect(clockAt('2026-11-25T22:07:13Z').all()).toEqual([0x20, 0x26, 0x11, 0x25, 4, 0x22, 0x07, 0x13]);
  });

  it('tells it in binary when register B says so', () => {
    const { write, all } = clockAt('2026-11-25T22:07:13Z');
    write(0x0b, B_24H | B_BINARY);
    expect(all()).toEqual([20, 26, 11, 25, 4, 22, 7, 13]);
  });

  it.each([
    ['00:30', 0x12, 12],
    ['01:30', 0x01, 1],
    ['11:30', 0x11, 11],
    ['12:30', 0x92, 0x8c],
    ['13:30', 0x81, 0x81],
    ['23:30', 0x91, 0x8b],
  ])('tells %s in twelve hours, bit 7 for the afternoon', (time, decimal, binary) => {
    const { read, write } = clockAt(`2026-03-01T${time}:00Z`);
    write(0x0b, 0);
    expect(read(4)).toBe(decimal);
    write(0x0b, B_BINARY);
    expect(read(4)).toBe(binary);
  });

  it.each([
    ['2026-12-31T23:59:59Z', [0x20, 0x26, 0x12, 0x31, 5, 0x23, 0x59, 0x59]],
    ['2027-01-01T00:00:00Z', [0x20, 0x27, 0x01, 0x01, 6, 0x00, 0x00, 0x00]],
    ['2028-02-29T09:08:07Z', [0x20, 0x28, 0x02, 0x29, 3, 0x09, 0x08, 0x07]],
    ['2099-12-31T23:59:59Z', [0x20, 0x99, 0x12, 0x31, 5, 0x23, 0x59, 0x59]],
    ['2100-01-01T00:00:00Z', [0x21, 0x00, 0x01, 0x01, 6, 0x00, 0x00, 0x00]],
    ['1999-12-31T23:59:59Z', [0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x59]],
    ['2026-11-22T12:00:00Z', [0x20, 0x26, 0x11, 0x22, 1, 0x12, 0x00, 0x00]], // a Sunday
  ])('goes through the ends of years and months: %s', (time, registers) => {
    expect(clockAt(time).all()).toEqual(registers);
  });

  it('goes on by itself', () => {
    const { read, set } = clockAt('2026-12-31T23:59:59Z');
    expect(read(9)).toBe(0x26);
    set('2027-01-01T00:00:00Z');
    expect(read(9)).toBe(0x27);
  });

  it('is not set by the guest', () => {
    const { all, write } = clockAt('2026-11-25T22:07:13Z');
    for (const register of [0x32, 9, 8, 7, 6, 4, 2, 0]) write(register, 0x55);
    expect(all()).toEqual([0x20, 0x26, 0x11, 0x25, 4, 0x22, 0x07, 0x13]);
  });
});

describe('the control registers', () => {
  it('say: no update in progress, the battery is good, no interrupt happened', () => {
    const { read } = clockAt('2026-01-01T00:00:00Z');
    expect(read(0x0a)).toBe(0x26);
    expect(read(0x0c)).toBe(0);
    expect(read(0x0d)).toBe(0x80);
  });

  it('have no interrupts to enable', () => {
    const { read, write } = clockAt('2026-01-01T00:00:00Z');
    write(0x0b, 0xff);
    expect(read(0x0b)).toBe(0x8f);
  });

  it('cannot be changed but for B', () => {
    const { read, write } = clockAt('2026-01-01T00:00:00Z');
    for (const register of [0x0a, 0x0c, 0x0d]) write(register, 0x11);
    expect([0x0a, 0x0c, 0x0d].map(read)).toEqual([0x26, 0, 0x80]);
  });
});

describe('the memory behind the clock', () => {
  it('keeps what is written, each byte for itself', () => {
    const { read, write } = clockAt('2026-01-01T00:00:00Z');
    const free = Array.from({ length: 128 }, (_, index) => index).filter((i) => i >= 0x0e && i !== 0x32);
    for (const register of free) write(register, register ^ 0xa5);
    for (const register of free) expect(read(register)).toBe(register ^ 0xa5);
    for (const alarm of [1, 3, 5]) {
      write(alarm, alarm);
      expect(read(alarm)).toBe(alarm);
    }
  });

  it('is addressed by seven bits; the eighth masks NMIs on a PC', () => {
    const { rtc, read, write } = clockAt('2026-01-01T00:00:00Z');
    write(0x40, 7);
    expect(read(0xc0)).toBe(7);
    const data = new Uint8Array(2);
    rtc.read(0, data);
    expect([...data]).toEqual([0x40, 0]);
  });
});
