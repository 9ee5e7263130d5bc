/**
 * A tap interface of the host: frames go straight between its queues and guest memory, with offloads, and one queue of it for each
 * pair of the card's.
 * Runs on: main.
 */
import { HostError } from '../base/errors.js';
import type { Sent, VnetBackend, VnetGuest } from '../devices/net/backend.js';
import { F } from '../devices/net/protocol.js';
import { MAX_PIECES } from '../host/iovecs.js';
import { errnoName, errnoNumber } from '../host/libc.js';
import { bringUp, lookUp } from '../host/network-interface.js';
import { TapQueue } from '../host/tap-queue.js';
import { IFF, TUN_F, TUN_F_USO } from '../host/tun-abi.js';
import { tapError } from './tap-error.js';

const EAGAIN = -errnoNumber('EAGAIN');
const EINVAL = -errnoNumber('EINVAL');
/** Room that is asked for at least: for a whole packet of the usual size. */
const SMALL = 2048;

/** GUEST_ features and what TUNSETOFFLOAD calls them. */
const OFFLOADS: readonly (readonly [feature: bigint, flags: number])[] = [
  [F.GUEST_CSUM, TUN_F.TUN_F_CSUM],
  [F.GUEST_TSO4, TUN_F.TUN_F_TSO4],
  [F.GUEST_TSO6, TUN_F.TUN_F_TSO6],
  [F.GUEST_ECN, TUN_F.TUN_F_TSO_ECN],
  [F.GUEST_UFO, TUN_F.TUN_F_UFO],
  [F.GUEST_USO4, TUN_F_USO.TUN_F_USO4],
  [F.GUEST_USO6, TUN_F_USO.TUN_F_USO6],
];
const OLD_GUEST = F.GUEST_CSUM | F.GUEST_TSO4 | F.GUEST_TSO6 | F.GUEST_ECN | F.GUEST_UFO;
const USO_GUEST = F.GUEST_USO4 | F.GUEST_USO6;
/** What the kernel does with frames from here, whatever TUNSETOFFLOAD says. */
const HOST = F.CSUM | F.HOST_TSO4 | F.HOST_TSO6 | F.HOST_ECN | F.HOST_UFO;

export interface TapOptions {
  /** Queues, 1 to 16; the interface must have been made for several if there are more than one. Default 1. */
  readonly queues?: number | undefined;
  /** For an interface that is made here, bytes. */
  readonly mtu?: number | undefined;
}

export class TapNetwork implements VnetBackend {
  readonly pairs: number;
  readonly offloads: bigint;
  readonly mtu: number | undefined;
  #guest: VnetGuest | undefined;
  /** By queue: nothing was there at the last look, so a poll tells of the next frame. */
  readonly #drained: boolean[];
  /** By queue: what its poll calls. */
  readonly #onReadable: readonly (() => void)[];
  /** By queue: the kernel steers frames there. */
  readonly #attached: boolean[];
  /** By queue: bytes of the last frame, or of one shortly before that was larger: they say something of the next. */
  readonly #expected: number[];

  private constructor(
    /** The interface. */
    readonly name: string,
    private readonly queues: readonly TapQueue[],
    mtu: number | undefined,
  ) {
    this.pairs = queues.length;
    this.mtu = mtu;
    this.offloads = HOST | OLD_GUEST | (this.#knowsUso() ? USO_GUEST | F.HOST_USO : 0n);
    this.setOffloads(0n);
    this.#drained = queues.map(() => false);
    this.#onReadable = queues.map((_, pair) => () => this.#readable(pair));
    this.#attached = queues.map(() => true);
    this.#expected = queues.map(() => SMALL);
  }

  /**
   * Attaches to the tap interface `name`; one that does not exist is made, switched on, and gone with the machine.
   * @throws HostError ERR_FILE that says what is missing and which commands would help
   */
  static open(name: string, { queues = 1, mtu }: TapOptions = {}): TapNetwork {
    const opened: TapQueue[] = [];
    const flags = queues > 1 ? IFF.IFF_MULTI_QUEUE : 0;
    const before = lookUp(name);
    try {
      while (opened.length < queues) opened.push(TapQueue.attach(name, flags));
      if (!before) bringUp(name, mtu);
      return new TapNetwork(name, opened, lookUp(name)?.mtu);
    } catch (error) {
      for (const queue of opened) queue[Symbol.dispose]();
      throw tapError(name, queues, before !== undefined, error);
    }
  }

  /**
   * Takes over descriptors that somebody else attached to one tap interface, with IFF_NO_PI and IFF_VNET_HDR.
   * @throws HostError ERR_FILE when they are none
   */
  static adopt(descriptors: readonly number[]): TapNetwork {
    const opened: TapQueue[] = [];
    try {
      for (const descriptor of descriptors) opened.push(TapQueue.adopt(descriptor));
      const { name } = opened[0]!;
      return new TapNetwork(name, opened, lookUp(name)?.mtu);
    } catch (error) {
      throw tapError(`descriptor ${descriptors.join(', ')}`, descriptors.length, true, error);
    }
  }

  attach(guest: VnetGuest): void {
    this.#guest = guest;
  }

  setOffloads(features: bigint): void {
    let flags = 0;
    for (const [feature, flag] of OFFLOADS) if (features & feature) flags |= flag;
    this.queues[0]!.setOffload(flags);
  }

  setPairs(pairs: number): void {
    for (const [index, queue] of this.queues.entries()) {
      const active = index < pairs;
      // The first always is: frames wait there for the next driver, as many as the kernel keeps.
      const attached = active || index === 0;
      if (attached !== this.#attached[index]) queue.setAttached(attached);
      this.#attached[index] = attached;
      if (active) this.#listen(index);
      else queue.stopPolling();
    }
  }

  send(pair: number, pieces: readonly Uint8Array[]): Sent {
    if (pieces.length > MAX_PIECES) return 'dropped';
    const result = this.queues[pair]!.writev(pieces);
    if (result >= 0) return 'sent';
    if (result === EAGAIN) return this.#sendLater(pair);
    // A header that makes no sense to the kernel (tun_get_user in drivers/net/tun.c).
    if (result === EINVAL) return 'dropped';
    throw this.#hostError('writev', result);
  }

  receive(pair: number, into: readonly Uint8Array[]): number {
    const result = this.queues[pair]!.readv(into);
    if (result > 0) {
      this.#expected[pair] = Math.max(result, this.#expected[pair]! >> 1, SMALL);
      return result;
    }
    this.#drained[pair] = true;
    if (result !== EAGAIN && result !== 0) {
      // An interface that is gone would be ready to be read for ever.
      this.queues[pair]!.stopPolling();
      throw this.#hostError('readv', result);
    }
    this.#listen(pair);
    return 0;
  }

  expected(pair: number): number {
    return this.#expected[pair]!;
  }

  close(): void {
    for (const queue of this.queues) queue[Symbol.dispose]();
  }

  #listen(pair: number): void {
    this.queues[pair]!.startPolling(this.#onReadable[pair]!);
  }

  #readable(pair: number): void {
    this.#drained[pair] = false;
    this.#guest?.readable(pair);
    // It has no room: a poll would tell again and again. `receive` asks once it has looked.
    if (!this.#drained[pair]) this.queues[pair]!.stopPolling();
  }

  /** Only where somebody has given the interface a send buffer (TUNSETSNDBUF): a look now and then is enough. */
  #sendLater(pair: number): Sent {
    setTimeout(() => this.#guest?.writable(pair), 1);
    return 'full';
  }

  #knowsUso(): boolean {
    try {
      this.setOffloads(OLD_GUEST | USO_GUEST);
      return true;
    } catch {
      return false;
    }
  }

  #hostError(syscall: string, result: number): HostError {
    const name = errnoName(-result);
    const down = name === 'EIO' || name === 'EBADFD';
    const message = down
      ? `${this.name}: the interface is down or gone`
      : `${this.name}: ${syscall}: ${name}`;
    const hint = down ? `ip link set ${this.name} up` : undefined;
    return new HostError(message, syscall, -result, name, { hint });
  }
}
