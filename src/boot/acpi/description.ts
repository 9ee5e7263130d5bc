/**
 * What the ACPI tables say of a machine, as plain data: whoever builds the machine knows it, nobody here touches the host.
 */

export interface AcpiDescription {
  /** vCPUs; APIC ids 0 … cpus − 1. */
  readonly cpus: number;
  /** virtio-mmio devices: a 4 KiB window each and an interrupt of its own. */
  readonly virtio: readonly { readonly base: number; readonly gsi: number }[];
  readonly serial: { readonly port: number; readonly gsi: number };
  /** The clock's index and data ports. */
  readonly rtc: { readonly port: number };
  readonly power: PowerRegisters;
}

/**
 * The register block that switches the machine off and tells the guest of events (devices/legacy/acpi-pm.ts). All are
 * byte-wide I/O ports.
 */
export interface PowerRegisters {
  /** First port of the block, and its length. */
  readonly base: number;
  readonly length: number;
  /** Offsets in the block. */
  readonly offsets: {
    readonly SLEEP_CONTROL: number;
    readonly SLEEP_STATUS: number;
    readonly RESET: number;
    /** Written with 1 when the guest's ACPI is up. */
    readonly LISTENING: number;
    /** Events that are pending; reading clears them. */
    readonly EVENTS: number;
  };
  readonly resetValue: number;
  /** SLP_TYP of S5, soft off. */
  readonly s5: number;
  /** Interrupt of the events. */
  readonly gsi: number;
  /** Bits of EVENTS. */
  readonly events: {
    readonly POWER_BUTTON: number;
    readonly SHUTDOWN_REQUEST: number;
    readonly NEW_GENERATION: number;
  };
}
