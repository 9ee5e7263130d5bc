/**
 * The clock of an MC146818 (data sheet; IBM PC/AT: ports 0x70 index, 0x71 data). The time is the host's, in UTC; the
 * guest may set the registers but not the clock. Periodic, alarm and update interrupts do not exist: their enable bits
 * read back as 0.
 * Runs on: main.
 */
import type { BusDevice } from '../../bus/bus.js';

export const RTC_INDEX = 0x70;
export const RTC_PORTS = 2;
const REG = {
  SECONDS: 0,
  MINUTES: 2,
  HOURS: 4,
  WEEKDAY: 6,
  DAY: 7,
  MONTH: 8,
  YEAR: 9,
  A: 0x0a,
  B: 0x0b,
  C: 0x0c,
  D: 0x0d,
  CENTURY: 0x32,
} as const;
/** 32.768 kHz time base, 1.024 kHz rate; the update-in-progress bit is never seen set: a read takes no time. */
const REG_A = 0x26;
const B = { HOURS_24: 1 << 1, BINARY: 1 << 2, INTERRUPTS: 0x70, SET: 1 << 7 } as const;
const REG_D_VALID = 0x80; // the battery is good
const PM = 0x80;

export class Rtc implements BusDevice {
  readonly #cmos = new Uint8Array(128);
  #index = 0;
  #b: number = B.HOURS_24;

  /** @param now milliseconds since the epoch */
  constructor(private readonly now: () => number) {}

  read(offset: number, data: Uint8Array): void {
    data.fill(0);
    data[0] = offset === 0 ? this.#index : this.#read(this.#index);
  }

  write(offset: number, data: Uint8Array): void {
    const value = data[0]!;
    // Bit 7 of the index port masks NMIs on a PC; there are none to mask.
    if (offset === 0) this.#index = value & 0x7f;
    else if (this.#index === REG.B) this.#b = value & ~B.INTERRUPTS;
    else this.#cmos[this.#index] = value;
  }

  #read(index: number): number {
    const time = new Date(this.now());
    switch (index) {
      case REG.SECONDS:
        return this.#number(time.getUTCSeconds());
      case REG.MINUTES:
        return this.#number(time.getUTCMinutes());
      case REG.HOURS:
        return this.#hours(time.getUTCHours());
      case REG.WEEKDAY:
        return this.#number(time.getUTCDay() + 1); // Sunday is 1
      case REG.DAY:
        return this.#number(time.getUTCDate());
      case REG.MONTH:
        return this.#number(time.getUTCMonth() + 1);
      case REG.YEAR:
        return this.#number(time.getUTCFullYear() % 100);
      case REG.CENTURY:
        return this.#number(Math.floor(time.getUTCFullYear() / 100));
      case REG.A:
        return REG_A;
      case REG.B:
        return this.#b;
      case REG.C:
        return 0; // no interrupt was raised
      case REG.D:
        return REG_D_VALID;
      default:
        return this.#cmos[index]!;
    }
  }

  #hours(hour: number): number {
    if (this.#b & B.HOURS_24) return this.#number(hour);
    return this.#number(hour % 12 || 12) | (hour >= 12 ? PM : 0);
  }

  /** Binary or two decimal digits, by register B. */
  #number(value: number): number {
    return this.#b & B.BINARY ? value : (Math.floor(value / 10) << 4) | (value % 10);
  }
}
