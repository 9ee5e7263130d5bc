/** Where an entropy device's bytes come from. */
export interface EntropySource {
  /** Fills all of `buffer`, at most 64 KiB, at once. */
  fill(buffer: Uint8Array): void;
}
