/**
 * One queue of a tap interface: frames behind their virtio header, read and written straight from and to the pieces they lie in.
 *
 * The rule: pieces are only used within the call. Their addresses are looked up for it and forgotten.
 * Runs on: main.
 */
import { Fd } from './fd.js';
import { Iovecs } from './iovecs.js';
import { ioctl, ioctlBuffer, O, open, setNonblocking, tryReadv, tryWritev } from './libc.js';
import { interfaceRequest } from './network-interface.js';
import { type Poll, pollReadable } from './poll.js';
import { IFF, ifreq, TUN } from './tun-abi.js';

/** `num_buffers` included: virtio 1.2 §5.1.6. */
const HEADER_SIZE = 12;
const O_RDWR_NONBLOCK = O.RDWR | O.NONBLOCK;

export class TapQueue implements Disposable {
  readonly #fd: Fd;
  readonly #number: number;
  readonly #iovecs = new Iovecs();
  #poll: Poll | undefined;
  #onReadable: (() => void) | undefined;
  #polling = false;

  private constructor(
    fd: Fd,
    /** The interface. */
    readonly name: string,
  ) {
    this.#fd = fd;
    this.#number = fd.number;
  }

  /**
   * Attaches to an interface, or makes one that is gone with its last queue.
   * @param flags IFF_MULTI_QUEUE for an interface that has it
   * @throws HostError as open(2) and TUNSETIFF do
   */
  static attach(name: string, flags: number): TapQueue {
    const fd = new Fd(open('/dev/net/tun', O_RDWR_NONBLOCK), name);
    try {
      const { bytes, view } = interfaceRequest(name);
      view.setUint16(ifreq.ifr_flags, IFF.IFF_TAP | IFF.IFF_NO_PI | IFF.IFF_VNET_HDR | flags, true);
      ioctlBuffer('TUNSETIFF', fd.number, TUN.TUNSETIFF, bytes);
      return TapQueue.#prepared(fd, name);
    } catch (error) {
      fd[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Takes over a descriptor that somebody else attached; from now on it is closed here.
   * @throws HostError when it is none of a tap interface; RangeError when that has no virtio header
   */
  static adopt(number: number): TapQueue {
    const bytes = new Uint8Array(ifreq.size);
    ioctlBuffer('TUNGETIFF', number, TUN.TUNGETIFF, bytes);
    const flags = new DataView(bytes.buffer).getUint16(ifreq.ifr_flags, true);
    const name = new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
    if (!(flags & IFF.IFF_TAP) || !(flags & IFF.IFF_NO_PI))
      throw new RangeError(`${name} is no tap interface without packet information`);
    if (!(flags & IFF.IFF_VNET_HDR)) throw new RangeError(`${name} was opened without IFF_VNET_HDR`);
    setNonblocking(number);
    return TapQueue.#prepared(new Fd(number, name), name);
  }

  static #prepared(fd: Fd, name: string): TapQueue {
    const four = new Uint8Array(4);
    const set = (what: 'TUNSETVNETHDRSZ' | 'TUNSETVNETLE', value: number): void => {
      four[0] = value;
      ioctlBuffer(what, fd.number, TUN[what], four);
    };
    set('TUNSETVNETHDRSZ', HEADER_SIZE);
    set('TUNSETVNETLE', 1);
    return new TapQueue(fd, name);
  }

  /** Its number, for handing it on. */
  get descriptor(): number {
    return this.#number;
  }

  /** What frames read from here may leave undone, for the whole interface. @throws HostError EINVAL for what it does not know */
  setOffload(flags: number): void {
    ioctl('TUNSETOFFLOAD', this.#number, TUN.TUNSETOFFLOAD, flags);
  }

  /** Whether the kernel steers frames here; for interfaces with several queues. */
  setAttached(attached: boolean): void {
    const { bytes, view } = interfaceRequest(this.name);
    view.setUint16(ifreq.ifr_flags, attached ? IFF.IFF_ATTACH_QUEUE : IFF.IFF_DETACH_QUEUE, true);
    ioctlBuffer('TUNSETQUEUE', this.#number, TUN.TUNSETQUEUE, bytes);
  }

  /** One frame into consecutive pieces. @returns its bytes, or a negative errno: -EAGAIN when there is none */
  readv(into: readonly Uint8Array[]): number {
    return tryReadv(this.#number, this.#iovecs.address, this.#iovecs.set(into));
  }

  /** Writes one frame. @returns its bytes, or a negative errno */
  writev(from: readonly Uint8Array[]): number {
    return tryWritev(this.#number, this.#iovecs.address, this.#iovecs.set(from));
  }

  /** Calls back when there may be frames, again and again until `stopPolling`. */
  startPolling(onReadable: () => void): void {
    if (this.#polling) return;
    this.#polling = true;
    this.#onReadable = onReadable;
    if (this.#poll) this.#poll.start();
    else this.#poll = pollReadable(this.#number, () => this.#onReadable?.());
  }

  stopPolling(): void {
    if (!this.#polling) return;
    this.#polling = false;
    this.#poll!.stop();
  }

  [Symbol.dispose](): void {
    this.#poll?.close();
    this.#poll = undefined;
    this.#polling = false;
    this.#fd[Symbol.dispose]();
  }
}
