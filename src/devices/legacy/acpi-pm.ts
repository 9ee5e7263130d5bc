/**
 * The power management registers of a hardware-reduced ACPI machine: sleep control and status (ACPI 6.5 §4.8.3.7), reset
 * (§4.8.3.6), and the events of the Generic Event Device (§5.6.9), whose meaning is in the DSDT.
 *
 * They are I/O ports: a port access needs no mapping in the guest, whatever state it is in when it dies, and costs KVM no
 * decoding of an instruction.
 * Runs on: main.
 */
import type { BusDevice } from '../../bus/bus.js';
import type { Interrupt } from '../../irq/interrupt.js';

/** The block: 0x600 is what a PC's chipsets use for power management. */
export const ACPI_PM = {
  base: 0x600,
  length: 8, // ports
  offsets: { SLEEP_CONTROL: 0, SLEEP_STATUS: 1, RESET: 2, LISTENING: 3, EVENTS: 4 },
  resetValue: 1,
  s5: 5,
  events: { POWER_BUTTON: 1 << 0, SHUTDOWN_REQUEST: 1 << 1, NEW_GENERATION: 1 << 2 },
} as const;

const { offsets: REG, events: EVENT } = ACPI_PM;
/** SLEEP_CONTROL_REG: SLP_TYPx in bits 4:2, SLP_EN in bit 5. */
const SLP_EN = 1 << 5;
const slpTyp = (value: number): number => (value >>> 2) & 7;
/** SLEEP_STATUS_REG: cleared by writing 1. */
const WAK_STS = 1 << 7;

export interface AcpiPmOptions {
  /** The GED's interrupt. */
  readonly irq: Interrupt;
  readonly onPowerOff: () => void;
  readonly onReset: () => void;
}

export class AcpiPm implements BusDevice {
  #events = 0;
  #listening = false;
  #woken = false;

  constructor(private readonly options: AcpiPmOptions) {}

  /** Whether the guest's kernel has set up ACPI: before, or without, nobody sees an event. */
  get listening(): boolean {
    return this.#listening;
  }
  /** Whether the guest has yet to take an event. */
  get pending(): boolean {
    return this.#events !== 0;
  }

  /**
   * Asks the guest to shut down in both ways there are: the button, which a desktop or systemd-logind takes, and the
   * graceful shutdown request, which Linux itself obeys.
   */
  powerButton(): void {
    this.#tell(EVENT.POWER_BUTTON | EVENT.SHUTDOWN_REQUEST);
  }

  /** Tells the guest that its VM generation id has changed. */
  newGeneration(): void {
    this.#tell(EVENT.NEW_GENERATION);
  }

  /** Raises the interrupt again if the guest has not looked: an edge is lost while the guest has it masked. */
  remind(): void {
    if (this.pending) this.options.irq.raise();
  }

  read(offset: number, data: Uint8Array): void {
    data.fill(0);
    if (offset === REG.EVENTS) {
      data[0] = this.#events;
      this.#events = 0;
    } else if (offset === REG.SLEEP_STATUS) {
      data[0] = this.#woken ? WAK_STS : 0;
    }
  }

  write(offset: number, data: Uint8Array): void {
    const value = data[0]!;
    switch (offset) {
      case REG.SLEEP_CONTROL:
        if (!(value & SLP_EN)) return;
        if (slpTyp(value) === ACPI_PM.s5) this.options.onPowerOff();
        // There are no other sleep states: whoever tries one wakes up at once.
        else this.#woken = true;
        return;
      case REG.SLEEP_STATUS:
        if (value & WAK_STS) this.#woken = false;
        return;
      case REG.RESET:
        if (value === ACPI_PM.resetValue) this.options.onReset();
        return;
      case REG.LISTENING:
        this.#listening = value !== 0;
        return;
      default: // EVENTS is read-only, the rest is reserved
    }
  }

  #tell(events: number): void {
    this.#events |= events;
    this.options.irq.raise();
  }
}
