/** The device status field (virtio 1.2 §2.1) and the only way through it (§3.1.1). */

export const STATUS = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  NEEDS_RESET: 64,
  FAILED: 128,
} as const;

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK } = STATUS;

/** From → to: a driver sets one bit at a time, in this order. Resetting (writing 0) is always allowed. */
const STEPS: ReadonlyMap<number, number> = new Map([
  [0, ACKNOWLEDGE],
  [ACKNOWLEDGE, ACKNOWLEDGE | DRIVER],
  [ACKNOWLEDGE | DRIVER, ACKNOWLEDGE | DRIVER | FEATURES_OK],
  [ACKNOWLEDGE | DRIVER | FEATURES_OK, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK],
]);

/** Whether a driver may write `next` when the field reads `current`, neither of them with FAILED or NEEDS_RESET. */
export const isLegalStep = (current: number, next: number): boolean =>
  next === current || STEPS.get(current) === next;
