/**
 * What a virtio device is to its transport, and the transport to it. Public: an embedder's own device implements
 * VirtioDevice and needs nothing else.
 *
 * A device has queues only between `activate` and `reset`: there is no inactive queue to check for. Status, feature
 * negotiation, queue set-up, interrupts and guest faults are the transport's; the meaning of requests is the device's.
 * Runs on: main.
 */
import type { ConfigSpace } from './config-space.js';
import type { Queue } from './queue.js';

/** A virtio device. An embedder's own goes into the configuration's `devices`. */
export interface VirtioDevice {
  /** For messages and statistics, unique in a VM: `blk0`. */
  readonly name: string;
  /** Device type, virtio 1.2 §5: 2 is a block device. */
  readonly type: number;
  /** Most entries of each queue, a power of two up to 32768; their number is the number of queues. */
  readonly queueSizes: readonly number[];
  /** Feature bits offered, 0 to 23 and 50 on (§2.2); those of ring and transport are added. */
  readonly features: bigint;
  /** What the driver reads at §4.2.2's Config; absent when the device has none. */
  readonly config?: ConfigSpace;
  /** Counters for `vm.stats()`. */
  readonly stats?: Readonly<Record<string, number>>;
  /** The driver is ready (DRIVER_OK). May throw GuestFault. */
  activate(session: Session): void;
  /** The driver made buffers available in a queue. May throw GuestFault; must not run longer than about 100 µs. */
  kick(index: number): void;
  /**
   * Ends the session. Settles when nothing on the host can touch guest memory any more: buffers of chains in flight go
   * back to the guest then. Only called after `activate`.
   */
  reset(): void | Promise<void>;
  /**
   * The driver takes one queue back (QueueReady 0), which hands out and takes nothing any more. Settles when nothing on the
   * host can touch its buffers; absent when a device has none in flight after `kick`.
   */
  stopQueue?(index: number): void | Promise<void>;
  /**
   * The driver has chosen, before FEATURES_OK is set: whether its choice makes sense, where that is more than "a part of those
   * offered". Here a device also sets what its configuration says to a driver of these features.
   */
  acceptsFeatures?(features: bigint): boolean;
  /** The driver wrote to the configuration space; absent means that it is read-only. */
  writeConfig?(offset: number, data: Uint8Array): void;
  /** The VM has ended; after `reset`. Gives back what the device holds on the host. */
  close?(): void | Promise<void>;
}

/** One activation of a device: from DRIVER_OK to the next reset. */
export interface Session {
  /** What the driver accepted, a part of what was offered. */
  readonly features: bigint;
  /** By index; undefined for a queue that the driver did not set up. */
  readonly queues: readonly (Queue | undefined)[];
  /** Tells the driver that a used ring has news, when `publish` said so. */
  interrupt(): void;
  /**
   * Publishes what was pushed to a queue, and interrupts if the driver wants it, once the work at hand is done:
   * completions that arrive together cost the guest one interrupt.
   */
  publishSoon(index: number): void;
  /** Calls `kick(index)` again soon, after the event loop had its turn. */
  kickLater(index: number): void;
  /**
   * Runs work that is not called by the transport (a completion, a timer): a GuestFault or an error in it ends where
   * one in `kick` does. Does nothing once the session is over, or after such an end.
   */
  run(action: () => void): void;
}
