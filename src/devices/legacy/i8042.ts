/**
 * The part of the i8042 keyboard controller that a machine without keyboard needs: the reset line, and answers that let
 * a driver find out quickly that nothing is attached (IBM PC/AT Technical Reference, "Keyboard Controller").
 * Runs on: main.
 */
import type { Bus, BusDevice } from '../../bus/bus.js';

/** Its two ports; the one between, 0x61, belongs to the timer. */
export const I8042_DATA = 0x60;
export const I8042_COMMAND = 0x64;
const STATUS = { OUTPUT_FULL: 1 << 0, SYSTEM_FLAG: 1 << 2, NOT_LOCKED: 1 << 4 } as const;
const COMMAND = {
  READ_CONFIG: 0x20,
  WRITE_CONFIG: 0x60,
  AUX_TEST: 0xa9,
  SELF_TEST: 0xaa,
  KEYBOARD_TEST: 0xab,
  READ_OUTPUT: 0xd0,
  WRITE_OUTPUT: 0xd1,
  KEYBOARD_LOOP: 0xd2,
  AUX_LOOP: 0xd3,
  RESET: 0xfe,
} as const;
const SELF_TEST_PASSED = 0x55;
/** Interface test: "clock line stuck low", what an empty socket gives. */
const NO_DEVICE = 0x01;
/** System reset inactive, A20 open. */
const OUTPUT_PORT = 0x03;

export class I8042 implements BusDevice {
  #config = 0x30; // both ports disabled
  #output: number | undefined;
  #expecting: number | undefined;

  constructor(private readonly onReset: () => void) {}

  /** Both ports: offset 0 is data, offset 4 status and command. */
  claim(pio: Bus): void {
    pio.claim(I8042_DATA, 1, 'i8042', this);
    const { COMMAND_OFFSET } = I8042;
    pio.claim(I8042_COMMAND, 1, 'i8042', {
      read: (_offset, data) => this.read(COMMAND_OFFSET, data),
      write: (_offset, data) => this.write(COMMAND_OFFSET, data),
    });
  }
  static readonly COMMAND_OFFSET = I8042_COMMAND - I8042_DATA;

  read(offset: number, data: Uint8Array): void {
    data.fill(0);
    if (offset === 0) {
      data[0] = this.#output ?? 0;
      this.#output = undefined;
    } else {
      data[0] =
        STATUS.SYSTEM_FLAG | STATUS.NOT_LOCKED | (this.#output === undefined ? 0 : STATUS.OUTPUT_FULL);
    }
  }

  write(offset: number, data: Uint8Array): void {
    const value = data[0]!;
    if (offset === 0) this.#writeData(value);
    else this.#command(value);
  }

  #command(command: number): void {
    switch (command) {
      case COMMAND.READ_CONFIG:
        this.#output = this.#config;
        return;
      case COMMAND.WRITE_CONFIG:
      case COMMAND.WRITE_OUTPUT:
      case COMMAND.KEYBOARD_LOOP:
      case COMMAND.AUX_LOOP:
        this.#expecting = command;
        return;
      case COMMAND.SELF_TEST:
        this.#output = SELF_TEST_PASSED;
        return;
      case COMMAND.KEYBOARD_TEST:
      case COMMAND.AUX_TEST:
        this.#output = NO_DEVICE;
        return;
      case COMMAND.READ_OUTPUT:
        this.#output = OUTPUT_PORT;
        return;
      case COMMAND.RESET:
        this.onReset();
        return;
      default: // enable, disable, pulse other lines: nothing to see
    }
  }

  #writeData(value: number): void {
    const command = this.#expecting;
    this.#expecting = undefined;
    if (command === COMMAND.WRITE_CONFIG) this.#config = value;
    else if (command === COMMAND.KEYBOARD_LOOP) this.#output = value;
    // Linux tells a mouse port by the echo; without any answer it waits half a second for one.
    else if (command === COMMAND.AUX_LOOP) this.#output = ~value & 0xff;
    // Bit 0 of the output port is the reset line, active low.
    else if (command === COMMAND.WRITE_OUTPUT && !(value & 1)) this.onReset();
  }
}
