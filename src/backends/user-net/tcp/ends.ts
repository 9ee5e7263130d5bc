/** What a connection knows of its two ends: who uses it, and the network it is part of. */
import type { Address } from '../address.js';
import type { Clock } from '../clock.js';
import type { Allowance } from './allowance.js';
import type { Connection } from './connection.js';
import type { SegmentHeader } from './segment.js';

/** The two ends. */
export interface TcpPath {
  readonly guest: Address;
  readonly guestPort: number;
  readonly remote: Address;
  readonly remotePort: number;
}

/** What a connection does for whoever uses it: a socket of the host, as a rule. */
export interface TcpUser {
  established(): void;
  /** Data in order, which may be kept. `pending` counts it until it is gone, and `consumed` tells that. */
  data(bytes: Uint8Array): void;
  readonly pending: number;
  /** The guest has ended its side. */
  ended(): void;
  /** There is room for more again. */
  drained(): void;
  /** It is over, nothing more is called: both sides ended, or one of them cut it, or the guest does not answer. */
  closed(how: 'ended' | 'reset' | 'timeout'): void;
}

/** What a connection needs from its network. */
export interface TcpHost {
  readonly clock: Clock;
  readonly pool: Allowance;
  /** Largest segment that the link carries to this guest's address. */
  mssOf(guest: Address): number;
  /** Most data that one transmission may have; the guest's card cuts it. */
  burstOf(mss: number): number;
  /** @returns false when the guest has no room: `resume` is called when it has */
  transmit(connection: Connection, header: SegmentHeader, offset: number, length: number): boolean;
  /** It is in no table any more; with `time-wait` a rest of it stays behind. */
  closed(connection: Connection): void;
}
