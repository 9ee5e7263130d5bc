/**
 * The Fixed ACPI Description Table (ACPI 6.5 §5.2.9, 276 bytes) of a hardware-reduced machine: no SMI, no PM timer, no
 * general-purpose events; sleep and reset registers and what a PC's legacy is there.
 */
import type { Gpa } from '../../base/units.js';
import type { PowerRegisters } from './description.js';
import { Table } from './table.js';

const REVISION = 6;
const MINOR_REVISION = 5;
const SIZE = 276;
const FIELD = {
  DSDT: 40, // u32
  PREFERRED_PM_PROFILE: 45, // u8
  P_LVL2_LAT: 96, // u16
  P_LVL3_LAT: 98, // u16
  IAPC_BOOT_ARCH: 109, // u16
  FLAGS: 112, // u32
  RESET_REG: 116, // GAS
  RESET_VALUE: 128, // u8
  MINOR_REVISION: 131, // u8
  X_DSDT: 140, // u64
  SLEEP_CONTROL_REG: 244, // GAS
  SLEEP_STATUS_REG: 256, // GAS
} as const;
const ENTERPRISE_SERVER = 4;
/** Above 100 µs and 1000 µs: there is no C2 and no C3. */
const NO_C2 = 0xffff;
const NO_C3 = 0xffff;

/** §5.2.9.3 table 5.11. Without the 8042 bit a guest does not look for a keyboard; the reset line of it works all the same. */
const IAPC = { LEGACY_DEVICES: 1 << 0, VGA_NOT_PRESENT: 1 << 2 } as const;

/** §5.2.9 table 5.10. A button bit set says: not in the fixed hardware. */
const FLAG = {
  WBINVD: 1 << 0,
  PROC_C1: 1 << 2,
  PWR_BUTTON: 1 << 4,
  SLP_BUTTON: 1 << 5,
  FIX_RTC: 1 << 6,
  RESET_REG_SUP: 1 << 10,
  HEADLESS: 1 << 12,
  HW_REDUCED_ACPI: 1 << 20,
} as const;

export function fadt({ base, offsets, resetValue }: PowerRegisters, dsdt: Gpa): Uint8Array {
  const table = new Table({ signature: 'FACP', revision: REVISION, length: SIZE });
  // Both forms of the address: X_DSDT counts, the other is for who does not know it.
  table.u32(FIELD.DSDT, dsdt);
  table.u64(FIELD.X_DSDT, dsdt);
  table.u8(FIELD.PREFERRED_PM_PROFILE, ENTERPRISE_SERVER);
  table.u16(FIELD.P_LVL2_LAT, NO_C2);
  table.u16(FIELD.P_LVL3_LAT, NO_C3);
  table.u16(FIELD.IAPC_BOOT_ARCH, IAPC.LEGACY_DEVICES | IAPC.VGA_NOT_PRESENT);
  table.u32(
    FIELD.FLAGS,
    Object.values(FLAG).reduce((flags, bit) => flags | bit, 0),
  );
  table.u8(FIELD.MINOR_REVISION, MINOR_REVISION);
  table.port(FIELD.RESET_REG, base + offsets.RESET);
  table.u8(FIELD.RESET_VALUE, resetValue);
  table.port(FIELD.SLEEP_CONTROL_REG, base + offsets.SLEEP_CONTROL);
  table.port(FIELD.SLEEP_STATUS_REG, base + offsets.SLEEP_STATUS);
  return table.seal();
}
