/**
 * Time for measuring spans. `performance.now()` tells the same, but Node loads a module for it, which takes longer than
 * creating a VM.
 */

/** Milliseconds since some fixed moment, to the nanosecond; never goes back. */
export function milliseconds(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}
