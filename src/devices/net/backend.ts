/**
 * What a network device needs from the host. Two interfaces: `NetBackend` is the one an embedder implements, frame by frame;
 * `VnetBackend` is for back ends that read and write the guest's buffers themselves, header included (tap).
 * `frame-link.ts` makes the second of the first.
 *
 * A frame is an Ethernet frame without preamble and checksum: 14 bytes of header at least. Both directions have
 * back-pressure: who says "not taken" is told when to try again, and until then the other side keeps the frame.
 * Runs on: main.
 */

/** A network for a guest: an object with these methods. Ten lines make one; see `send` and `onReceive`. */
export interface NetBackend {
  /** The guest card's address, `02:00:00:00:00:01`; made up when absent. */
  readonly mac?: string | undefined;
  /** Largest packet in a frame, bytes, told to the guest: 68 to 65535. Without it the guest assumes 1500. */
  readonly mtu?: number | undefined;
  /**
   * True: `send` gets frames as the guest's stack leaves them, with checksums to be filled in and TCP data of up to 64 KiB to
   * be cut, as far as the `header` says; and what `onReceive` is given may be like that. Frames are complete otherwise.
   */
  readonly offloads?: boolean | undefined;
  /**
   * A frame from the guest: a copy, which may be kept and changed. Returning `false` means "not taken": it is offered again
   * after `onDrain`'s callback was called, and the guest's next frames wait. Anything else, as nothing, means "taken". An
   * exception drops the frame and is reported.
   * @param header only with `offloads`
   */
  send(frame: Uint8Array, header?: VnetHeader): unknown;
  /**
   * Called once, before the first `send`. `receive` hands a frame to the guest; it may be called at any time, also within
   * `send`. It copies the frame before it returns; false means that the guest has no room and the frame was not taken.
   */
  onReceive(receive: Receive): void;
  /** Called once when `send` may return false: `drained` says that it would take a frame again. */
  onDrain?(drained: () => void): void;
  /** The guest has room again after `receive` returned false. Without this method such frames are for the back end to drop. */
  room?(): void;
  /** The VM has ended. Called once; `send` is not called any more, and `receive` does nothing. */
  close?(): void | Promise<void>;
}

/** Hands one frame to the guest. @returns whether it was taken; false also while the guest has no driver */
export type Receive = (frame: Uint8Array, header?: VnetHeader) => boolean;

/** struct virtio_net_hdr (virtio 1.2 §5.1.6), what a frame leaves to be done. Constants are in protocol.ts. */
export interface VnetHeader {
  /** NEEDS_CSUM 1: the checksum from csumStart on is to be stored at csumStart + csumOffset. DATA_VALID 2: it was checked. */
  readonly flags: number;
  /** NONE 0, TCPV4 1, UDP 3, TCPV6 4, UDP_L4 5; with ECN 0x80. Not NONE: to be cut into packets of gsoSize bytes of data. */
  readonly gsoType: number;
  /** Bytes of headers in front of the data to be cut; a hint. */
  readonly hdrLen: number;
  /** Bytes of data in each packet that the frame is to be cut into. */
  readonly gsoSize: number;
  /** Where in the frame the sum starts; it goes to the frame's end. */
  readonly csumStart: number;
  /** Where the sum is to be stored, counted from `csumStart`. */
  readonly csumOffset: number;
}

/**
 * A back end that moves frames between the host and the guest's own buffers. Every frame begins with struct virtio_net_hdr of
 * 12 bytes (§5.1.6: little-endian, with num_buffers). Buffers alias guest memory and are lent for the call.
 */
export interface VnetBackend {
  readonly mac?: string | undefined;
  readonly mtu?: number | undefined;
  /** Queue pairs it can serve, 1 at least. */
  readonly pairs: number;
  /** Offloads that it can do, feature bits of protocol.ts: CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4 and so on. */
  readonly offloads: bigint;
  /** Called once, before anything else. */
  attach(guest: VnetGuest): void;
  /** What frames to the guest may leave undone from now on: GUEST_ bits, a part of `offloads`. None before the first call. */
  setOffloads(features: bigint): void;
  /** Which pairs carry frames from now on: the first `pairs`. None: the guest has no driver. */
  setPairs(pairs: number): void;
  /** One frame from the guest, 14 bytes of Ethernet at least. An exception drops it, and is reported. */
  send(pair: number, pieces: readonly Uint8Array[]): Sent;
  /**
   * One frame for the guest, into consecutive pieces, the last of which is there for what the guest's buffers do not hold.
   * @returns its bytes with header; 0 when none waits: then `guest.readable` tells of the next
   */
  receive(pair: number, into: readonly Uint8Array[]): number;
  /** Bytes of the frame that `receive` would give now, with header, or the most it could be. */
  expected(pair: number): number;
  /** The VM has ended. */
  close?(): void | Promise<void>;
}

/** `full`: not taken; `guest.writable` tells when to try again. `dropped`: no frame that could be sent, a mistake of the guest's. */
export type Sent = 'sent' | 'full' | 'dropped';

/** A network device as its back end sees it. Calls may come at any time, also within `send` and `receive`. */
export interface VnetGuest {
  /** Frames wait for `receive`. Not repeated until `receive` has returned 0. */
  readable(pair: number): void;
  /** `send` would take a frame again. */
  writable(pair: number): void;
  /** Something failed that belongs to no call. */
  failed(error: unknown): void;
}
