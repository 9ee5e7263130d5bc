/**
 * What a Linux guest says on its console when it ends, which the hardware events alone do not tell: a reset after
 * "Kernel panic" is not a reboot, a halt after "System halted" is not a hang.
 */
import type { ConsoleLog } from './console-log.js';

/** kernel/reboot.c and kernel/panic.c print these, whatever the log level, as their last words. */
const WORDS = {
  panic: /Kernel panic - not syncing: ([^\r\n]+)/,
  halted: /reboot: (System halted|Power down|Power off not available)/,
  restarting: /reboot: (Restarting system|machine restart)/,
} as const;

/** @returns the words, for a panic its reason; undefined when the guest did not say them lately */
export const guestSaid = (log: ConsoleLog, what: keyof typeof WORDS): string | undefined =>
  log.endsLike(WORDS[what])?.[1];
