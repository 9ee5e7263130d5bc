/**
 * A PC's devices under drivers that do anything: every offset, width and value. Nothing throws, nothing grows without bound, what a
 * device tells makes sense, and afterwards it still works.
 */
import { it } from 'vitest';
import type { BusDevice } from '../../src/bus/bus.js';
import { I8042 } from '../../src/devices/legacy/i8042.js';
import { Rtc } from '../../src/devices/legacy/rtc.js';
import { FCR, IER, LCR, LSR, MCR, REG } from '../../src/devices/legacy/serial-registers.js';
import { FUZZ_LIMIT, fuzz } from '../support/fuzz.js';
import type { Random } from '../support/random.js';
import { COM1, Uart } from '../support/uart.js';

const ACCESSES = 60;
/** Bytes the port may hold for the guest. */
const QUEUE = 4096;
const IIR_CAUSES = new Set([0x01, 0x02, 0x04, 0x0c]);

/** One access of any width: as the bus would pass it on. @returns the first byte read */
function poke(
  random: Random,
  device: BusDevice,
  offset: number,
  value = random.below(256),
): number | undefined {
  const data = random.bytes(random.pick([1, 1, 1, 2, 4, 8]));
  data[0] = value;
  if (random.chance(0.5)) {
    void device.write(offset, data);
    return undefined;
  }
  void device.read(offset, data);
  if (data.subarray(1).some((byte) => byte !== 0)) throw new Error('bytes behind the register');
  return data[0];
}

it('the serial port', { timeout: FUZZ_LIMIT }, async () => {
  await fuzz({ rounds: 2500, seed: 0x16550 }, (random) => {
    const uart = new Uart({ page: random.chance(0.5), holdInput: random.chance(0.3) });
    let wanted = 0;
    uart.port.onRoom = () => {
      if (wanted > 0) wanted -= uart.type('r'.repeat(Math.min(wanted, 100)));
    };
    for (let i = 0; i < ACCESSES; i += 1) {
      const register = random.below(8);
      switch (random.below(8)) {
        case 0: {
          const length = random.chance(0.02) ? QUEUE + 1 : random.pick([1, 15, 16, 17, 100]);
          const taken = uart.port.receive(new Uint8Array(length));
          if (taken < 0 || taken > Math.min(length, QUEUE)) throw new Error(`${taken} of ${length} taken`);
          if (taken < length && random.chance(0.5)) wanted = length - taken;
          break;
        }
        case 1:
          uart.write(register, random.below(256));
          break;
        case 2:
          uart.page?.deliver();
          break;
        default: {
          const fifos = random.pick([0, FCR.ENABLE, FCR.ENABLE | FCR.CLEAR_RX, 0xff]);
          const value = register === REG.FCR && random.chance(0.5) ? fifos : random.below(256);
          const told = poke(random, uart.port, register, value);
          if (told === undefined) break;
          if (register === REG.IIR && !IIR_CAUSES.has(told & 0x0f)) throw new Error(`IIR ${told}`);
          if (register === REG.LSR && (told & ~LSR.DR) !== (LSR.THRE | LSR.TEMT))
            throw new Error(`LSR ${told}`);
        }
      }
      const data = new Uint8Array(1);
      uart.port.read(REG.LSR, data);
      if (uart.page && uart.page.read(COM1 + REG.LSR) !== data[0])
        throw new Error('the page shows another LSR');
    }
    // A driver starts: everything it was sent arrives, and new input interrupts it.
    wanted = 0;
    for (const [register, value] of [
      [REG.LCR, 0],
      [REG.MCR, MCR.OUT2 | MCR.RTS],
      [REG.IER, IER.RDI],
    ] as const) {
      uart.write(register, value);
    }
    if (uart.drain(3 * QUEUE).length > QUEUE) throw new Error('more input than fits');
    uart.takeInterrupts();
    if (uart.type('ok') !== 2 || uart.takeInterrupts() !== 1 || uart.drain() !== 'ok')
      throw new Error('no input');
    uart.output = '';
    uart.write(REG.THR, 0x2e);
    uart.page?.deliver();
    if (uart.output !== '.') throw new Error('no output');
    uart.write(REG.LCR, LCR.DLAB);
  });
});

it('the keyboard controller', { timeout: FUZZ_LIMIT }, async () => {
  await fuzz({ rounds: 1500, seed: 0x8042 }, (random) => {
    let resets = 0;
    const device = new I8042(() => void (resets += 1));
    for (let i = 0; i < ACCESSES; i += 1) {
      const offset = random.pick([0, 4, random.below(8)]);
      const value = random.chance(0.5)
        ? random.pick([0x20, 0x60, 0xa9, 0xaa, 0xd0, 0xd1, 0xd2, 0xd3, 0xfe])
        : undefined;
      const before = resets;
      const told = poke(random, device, offset, value);
      if (offset !== 0 && told !== undefined && told !== 0x14 && told !== 0x15)
        throw new Error(`status ${told}`);
      if (told !== undefined && resets !== before) throw new Error('a read that resets');
    }
    const [status, data] = [new Uint8Array(1), new Uint8Array(1)];
    device.write(4, Uint8Array.of(0xaa));
    device.read(4, status);
    device.read(0, data);
    if (status[0] !== 0x15 || data[0] !== 0x55) throw new Error('no self test');
  });
});

it('the clock', { timeout: FUZZ_LIMIT }, async () => {
  await fuzz({ rounds: 1500, seed: 0x146818 }, (random) => {
    const now = random.next() * 1000; // up to the year 2106
    const device = new Rtc(() => now);
    for (let i = 0; i < ACCESSES; i += 1) poke(random, device, random.pick([0, 1, random.below(2)]));
    const read = (register: number): number => {
      device.write(0, Uint8Array.of(register));
      const data = new Uint8Array(1);
      device.read(1, data);
      return data[0]!;
    };
    device.write(0, Uint8Array.of(0x0b));
    device.write(1, Uint8Array.of(0x06)); // binary, 24 hours
    const [century, year, month, day, hour, minute, second] = [0x32, 9, 8, 7, 4, 2, 0].map(read) as number[];
    const told = Date.UTC(century! * 100 + year!, month! - 1, day!, hour!, minute!, second!);
    if (told !== Math.floor(now / 1000) * 1000) throw new Error(`${new Date(told).toISOString()} at ${now}`);
  });
});
