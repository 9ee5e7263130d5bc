/** Memory outside the heap; here because it needs the addon, not KVM. */
import { expect, it } from 'vitest';
import { Mapping } from '../../src/host/mapping.js';

it('views of guest memory are not counted as memory that a garbage collection could free', () => {
  const counted = process.memoryUsage().external;
  using mapping = Mapping.anonymous(2 ** 30);
  const view = mapping.view();
  expect(process.memoryUsage().external - counted).toBeLessThan(2 ** 20);
  expect(view.length).toBe(2 ** 30);
});
