/**
 * Asks a guest to switch itself off, and waits for it.
 * Runs on: main.
 */
import type { AcpiPm } from '../devices/legacy/acpi-pm.js';

/** How long a guest may take unless the caller says otherwise, ms: services stop, disks are written. */
export const SHUTDOWN_TIMEOUT_MS = 5000;
/** A guest that is booting has the interrupt masked for a while after its ACPI is up: it is told again, ms. */
const REMIND_MS = 100;

/**
 * Presses the power button and waits for the guest's end.
 * @param ended resolves when the VM has ended, however it did
 * @returns false when `timeout` ms have passed without that
 */
export async function askToShutDown(
  power: AcpiPm,
  ended: Promise<unknown>,
  timeout: number,
): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), timeout);
  });
  power.powerButton();
  const reminder = setInterval(() => power.remind(), REMIND_MS);
  try {
    return await Promise.race([ended.then(() => true), late]);
  } finally {
    clearTimeout(timer);
    clearInterval(reminder);
  }
}
