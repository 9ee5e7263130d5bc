/** The checks that every back end begins with, and steps that may be synchronous. Runs on: main. */
export type Done = void | Promise<void>;

/** @throws RangeError for bytes that are not on the disk; the device has checked, an embedder may not have */
export function checkRange(size: number, offset: number, length: number): void {
  const sound = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!sound || offset + length > size) {
    throw new RangeError(`${length} bytes at ${offset} are not on a disk of ${size} bytes`);
  }
}

/** Runs one step after the other; stays synchronous for as long as they are. */
export const inOrder = (first: Done, then: () => Done): Done => (first ? first.then(then) : then());
