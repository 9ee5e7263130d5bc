/** The host's own random numbers. Runs on: main. */
import type { EntropySource } from '../devices/rng/backend.js';
import { randomBytes } from '../host/libc.js';

export const hostEntropy: EntropySource = {
  fill(buffer) {
    randomBytes(buffer);
  },
};
