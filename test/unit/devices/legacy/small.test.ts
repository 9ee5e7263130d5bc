import { describe, expect, it } from 'vitest';
import type { BusDevice } from '../../../../src/bus/bus.js';
import {
  BOOTED,
  bootTimer,
  debugPort,
  exitPort,
  ignoredPort,
  systemControlA,
} from '../../../../src/devices/legacy/small.js';

function read(device: BusDevice, width = 1): number[] {
  const data = new Uint8Array(width).fill(0x77);
  void device.read(0, data);
  return [...data];
}

describe('the debug console', () => {
  it('hands on what is written, and reads as its own number: that is how software finds it', () => {
    const written: number[] = [];
    const port = debugPort((bytes) => void written.push(...bytes));
    void port.write(0, Uint8Array.of(0x68, 0x69));
    expect(written).toEqual([0x68, 0x69]);
    expect(read(port)).toEqual([0xe9]);
  });
});

describe('the exit port', () => {
  it.each([
    [[0], 0],
    [[7], 7],
    [[0xff], 255],
    [[0x34, 0x12], 0x1234],
    [[0xff, 0xff, 0xff, 0xff], 0xffff_ffff],
    [[0x78, 0x56, 0x34, 0x92], 0x9234_5678],
  ])('takes %j as code %d', (bytes, code) => {
    const codes: number[] = [];
    const port = exitPort((value) => void codes.push(value));
    void port.write(0, Uint8Array.from(bytes));
    expect(codes).toEqual([code]);
    expect(read(port, 4)).toEqual([0, 0, 0, 0]);
  });
});

describe('the diagnostic port', () => {
  it('takes everything and tells nothing', () => {
    void ignoredPort.write(0, Uint8Array.of(1));
    expect(read(ignoredPort, 2)).toEqual([0xff, 0xff]);
  });
});

describe('system control port A', () => {
  it('resets by bit 0 alone, and shows A20 open', () => {
    let resets = 0;
    const port = systemControlA(() => void (resets += 1));
    expect(read(port)).toEqual([0x02]);
    for (const value of [0x00, 0x02, 0xfe]) void port.write(0, Uint8Array.of(value));
    expect(resets).toBe(0);
    void port.write(0, Uint8Array.of(0x03));
    expect(resets).toBe(1);
  });
});

describe('the boot timer', () => {
  it('passes on the values written to its first byte, and no others', () => {
    const marks: number[] = [];
    const timer = bootTimer((value) => void marks.push(value));
    void timer.write(0, Uint8Array.of(BOOTED));
    void timer.write(0, Uint8Array.of(5, 0, 0, 0));
    void timer.write(4, Uint8Array.of(BOOTED));
    expect(marks).toEqual([123, 5]);
    expect(read(timer, 8)).toEqual(Array(8).fill(0));
  });
});
