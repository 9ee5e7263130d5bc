/**
 * A socket device's host side. The device keeps no data: what the guest sends goes to the host's end at once, within the credit that
 * `consumed` gives; what the host sends is fetched by `pull` when the guest has room for it.
 */

/** A connection, as the device gives it to the host's end. Calls after the end do nothing. */
export interface GuestStream {
  /** The host's port: the one the guest asked for, or one of our own. */
  readonly hostPort: number;
  /** The guest's. */
  readonly guestPort: number;
  /** The host takes a connection that the guest asked for. Until then no data passes. */
  accept(): void;
  /** There is something to `pull`. */
  ready(): void;
  /** `bytes` of what `received` brought need no more memory: the guest may send as many. */
  consumed(bytes: number): void;
  /** Nothing will come any more, once `pull` has brought what there is. */
  end(): void;
  /** Ends both directions. What was pulled still reaches the guest; what comes from it is dropped. */
  close(): void;
  /** Ends the connection at once. */
  reset(): void;
}

/** Why a connection is over. */
export type StreamEnd =
  | 'closed' // both sides have said that they are done
  | 'refused' // nobody listens at the guest's port
  | 'timeout' // the guest did not answer the request in time
  | 'reset'; // the guest broke it off, or broke the rules, or its device was reset

/** The host's end of a connection. */
export interface HostEnd {
  /** The guest took a connection that the host asked for. */
  opened(): void;
  /** Data of the guest: guest memory itself, valid only during the call. */
  received(bytes: Uint8Array): void;
  /** The guest sends no more. */
  guestEnded(): void;
  /** The guest reads no more: nothing is pulled from now on. */
  guestDeaf(): void;
  /** Copies data for the guest into `into`. @returns bytes; fewer than asked for: wait for the next `ready` */
  pull(into: Uint8Array): number;
  /** The connection is over. The last call. */
  over(why: StreamEnd): void;
}

/** Where a guest's connections to the host go. */
export interface VsockHost {
  /** The guest connects to `stream.hostPort`. @returns the host's end, which calls `accept` when it is ready; undefined refuses */
  connecting(stream: GuestStream): HostEnd | undefined;
  /** The VM has ended. */
  close?(): void | Promise<void>;
}
