/**
 * A block device as an embedder holds it while the VM runs: resize it, put another disk in its place, limit it.
 * Runs on: main.
 */
import { FileDisk } from '../backends/file-disk.js';
import { OverlayDisk } from '../backends/overlay-disk.js';
import { StateError, VmmError } from '../base/errors.js';
import type { BlockBackend } from '../devices/blk/backend.js';
import type { BlkDevice } from '../devices/blk/device.js';
import type { RateLimit } from '../devices/rate-limiter.js';

/** Opens what `replace` is given, as the configuration would have. */
export type OpenDisk = (source: string | URL | Uint8Array | BlockBackend) => Promise<BlockBackend>;

/** A disk of a VM, as `vm.disks` gives it. */
export class GuestDisk {
  /** Requests served so far, and how many of them the host failed. */
  readonly stats: BlkDevice['stats'];

  constructor(
    readonly id: string,
    private readonly device: BlkDevice,
    private readonly open: OpenDisk,
  ) {
    this.stats = device.stats;
  }

  /** Bytes. */
  get size(): number {
    return this.device.disk.size;
  }

  /** Whether the guest may only read it. */
  get readOnly(): boolean {
    return this.device.readOnly;
  }

  /**
   * Tells the guest that the disk has another size. With `size`, a disk that is a file is made that long first; without,
   * its size is looked up, because somebody else changed it.
   * @param size bytes, rounded down to whole sectors
   * @returns the new size, bytes
   * @throws VmmError when the disk cannot be resized from here; HostError when the host cannot
   */
  async resize(size?: number): Promise<number> {
    const { disk } = this.device;
    if (disk instanceof FileDisk) await (size === undefined ? disk.measure() : disk.resize(size));
    else if (size !== undefined) {
      throw new VmmError('ERR_VMM_CONFIG', `${this.id}: only a disk that is a file can be resized`, {
        hint: 'change the size of the object itself, then call resize() without a size',
      });
    }
    this.device.resized();
    return this.size;
  }

  /**
   * Goes on with another disk once no request is in flight on this one, which is closed. What the guest has cached or
   * mounted is the guest's business.
   * @throws VmmError when the new disk cannot do all that the guest was promised; then the old one stays
   */
  async replace(source: Parameters<OpenDisk>[0]): Promise<void> {
    const disk = await this.open(source);
    try {
      const old = await this.device.replace(disk);
      await old.close?.();
    } catch (error) {
      await disk.close?.();
      if (error instanceof RangeError) throw new VmmError('ERR_VMM_CONFIG', error.message, { cause: error });
      throw error;
    }
  }

  /** New rate limits from now on; none without. */
  limit(limit: RateLimit = {}): void {
    this.device.limiter.update(limit);
  }

  /** Throws away everything written to an overlay. The guest must not be using the disk. @throws StateError without one */
  async reset(): Promise<void> {
    const { disk } = this.device;
    if (!(disk instanceof OverlayDisk))
      throw new StateError(`one whose ${this.id} has no overlay`, 'one with an overlay');
    await disk.reset();
  }
}
