/** Where the initrd goes: as high as allowed in low RAM, page-aligned, above the kernel. */
import { KernelError } from '../base/errors.js';
import { alignDown, alignUp, formatSize, gpa, PAGE_SIZE } from '../base/units.js';
import { HIGH_RAM, type Range } from './layout.js';

/**
 * @param kernelEnd first address behind the kernel and what it needs to start
 * @param max highest address the kernel lets an initrd reach, inclusive
 * @throws KernelError when there is no room
 */
export function placeInitrd(size: number, ram: readonly Range[], kernelEnd: number, max: number): Range {
  const low = ram[0]!;
  const end = Math.min(low.base + low.size, max + 1);
  const base = alignDown(end - size, PAGE_SIZE);
  const floor = alignUp(Math.max(kernelEnd, HIGH_RAM), PAGE_SIZE);
  if (base < floor) {
    throw new KernelError(
      `the initrd needs ${formatSize(size)}, the guest's memory has ${formatSize(Math.max(0, end - floor))} left for it`,
      { hint: 'give the guest more memory' },
    );
  }
  return { base: gpa(base), size };
}
