/**
 * Devices of one register each: for guests that say something to the monitor, and ports that software pokes and
 * expects to exist.
 * Runs on: main.
 */
import type { BusDevice } from '../../bus/bus.js';

/**
 * Bochs' and QEMU's debug console: a write is output, a read tells that the port is there. A wider write is as many
 * characters, which saves a guest exits.
 */
export const DEBUG_PORT = 0xe9;
export const DEBUG_PORTS = 4; // the widest access to the one port that is used
export const debugPort = (onOutput: (bytes: Uint8Array) => void): BusDevice => ({
  read: (_offset, data) => void data.fill(DEBUG_PORT),
  write: (offset, data) => {
    if (offset === 0) onOutput(data);
  },
});

/** A flat guest's exit(2): the value written, of the access's width, is the exit code; as QEMU's isa-debug-exit at 0xf4. */
export const EXIT_PORT = 0xf4;
export const exitPort = (onExit: (code: number) => void): BusDevice => ({
  read: (_offset, data) => void data.fill(0),
  write: (_offset, data) => onExit(data.reduce((code, byte, index) => code + byte * 2 ** (8 * index), 0)),
});

/** The diagnostic port, written for its delay on every slow access of old drivers. */
export const POST_PORT = 0x80;
export const ignoredPort: BusDevice = { read: (_offset, data) => void data.fill(0xff), write() {} };

/**
 * The ports of an i8254 that is not there: its counters and its mode, and the port that gates and shows the third. A kernel that tries
 * to calibrate against a counter that stands at 0xff, as where nothing answers, gives up only after 50 000 reads; at 0 at once.
 */
export const TIMER_PORTS: readonly (readonly [base: number, length: number])[] = [
  [0x40, 4],
  [0x61, 1],
];
export const absentTimer: BusDevice = { read: (_offset, data) => void data.fill(0), write() {} };

/** Fast A20 and reset (PS/2 "system control port A"): bit 0 resets, bit 1 is the A20 line, always open here. */
export const SYSTEM_CONTROL_A = 0x92;
export const systemControlA = (onReset: () => void): BusDevice => ({
  read: (_offset, data) => void data.fill(0x02),
  write: (_offset, data) => {
    if (data[0]! & 1) onReset();
  },
});

/**
 * Firecracker's boot timer: a guest that writes the byte 123 to the page says that it has booted; other values are
 * marks of its own.
 */
export const BOOTED = 123;
export const bootTimer = (onMark: (value: number) => void): BusDevice => ({
  read: (_offset, data) => void data.fill(0),
  write: (offset, data) => {
    if (offset === 0) onMark(data[0]!);
  },
});
