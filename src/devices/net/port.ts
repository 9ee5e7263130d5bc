/**
 * What all queues of one network device share for a session. Runs on: main.
 */
import type { Session } from '../../virtio/device.js';
import type { Queue } from '../../virtio/queue.js';
import type { RateLimiter } from '../rate-limiter.js';
import type { VnetBackend } from './backend.js';
import type { RxFilter } from './filter.js';

/** Counters of a network device. A frame that is not delivered is counted once, by its reason. */
export interface NetStats {
  /** Frames and bytes that the guest received; bytes without virtio's header. */
  received: number;
  receivedBytes: number;
  /** Frames that the guest sent. */
  sent: number;
  sentBytes: number;
  /** Frames for other cards, by the guest's own filter. */
  filtered: number;
  /** Frames for the guest that it could not be given: too large for it or its buffers, or no frames at all. */
  receiveDropped: number;
  /** Frames from the guest that are none, or that the host could not send. */
  sendDropped: number;
  /** Buffers and commands of the driver's that make no sense. */
  malformed: number;
}

export interface NetPort {
  readonly session: Session;
  readonly backend: VnetBackend;
  readonly filter: RxFilter;
  readonly stats: NetStats;
  readonly rxLimiter: RateLimiter;
  readonly txLimiter: RateLimiter;
  /** Largest packet for the guest, bytes; undefined: whatever it has buffers for. */
  readonly mtu: number | undefined;
  /** Whether the cable is plugged in. */
  readonly linkUp: () => boolean;
  /** GUEST_ offloads that are on. */
  readonly guestOffloads: () => bigint;
  readonly failed: (error: unknown) => void;
}

/** One queue of a pair. */
export interface PortQueue {
  readonly queue: Queue;
  /** Its place among the device's queues. */
  readonly index: number;
  readonly pair: number;
}

/** Work of one turn of the event loop: about 100 µs of system calls, or of copying. */
export const MAX_TURN_FRAMES = 64;
export const MAX_TURN_BYTES = 2 ** 20;
