/** What virtio 1.2 requires of an entropy device (§5.4). */
import { describe, expect, it } from 'vitest';
import { hostEntropy } from '../../src/backends/host-entropy.js';
import { RngDevice } from '../../src/devices/rng/device.js';
import { plug } from '../support/plug.js';

describe('§5.4.6.2 Device Operation', () => {
  it.each([1, 2, 100, 65_536, 65_537, 100_000])(
    'a buffer of %i bytes gets one random byte or more',
    (size) => {
      const { driver } = plug(new RngDevice('rng', hostEntropy));
      driver.start();
      const posted = driver.queue().post([size]);
      const [used] = driver.queue().collect();
      expect(used!.length).toBeGreaterThanOrEqual(1);
      expect(used!.length).toBeLessThanOrEqual(size);
      // Of 100 random bytes or more, half are not all the same: but for a chance of 2^-300.
      const random = posted.written().subarray(0, used!.length);
      if (random.length >= 100) expect(new Set(random).size).toBeGreaterThan(20);
    },
  );
});
