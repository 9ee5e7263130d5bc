/**
 * Which frames a guest's card lets in (virtio 1.2 §5.1.6.5.1 and §5.1.6.5.2). Without CTRL_RX a driver cannot ask for more
 * than its own, so then it gets everything.
 * Runs on: main.
 */
import { macNumber } from './mac.js';
import { ADDRESS, RX } from './protocol.js';

/** Addresses a table holds; with more the card lets in all of that kind, as one without filters does. */
export const MAX_TABLE = 1024;
const BROADCAST = 0xffff_ffff_ffff;
/** Of an address as a number, the bit of groups: the first byte's lowest. */
const GROUP = 2 ** 40;

export class RxFilter {
  /** By command of class RX, whether it is on. */
  readonly #modes: boolean[] = [];
  #unicast: ReadonlySet<number> | undefined = new Set();
  #multicast: ReadonlySet<number> | undefined = new Set();
  #own = 0;

  /** @param filtering whether CTRL_RX was negotiated */
  constructor(
    private readonly filtering: boolean,
    mac: Uint8Array,
  ) {
    this.setOwn(mac);
  }

  setOwn(mac: Uint8Array): void {
    this.#own = macNumber(mac);
  }

  /** @param mode of RX */
  setMode(mode: number, on: boolean): void {
    this.#modes[mode] = on;
  }

  /** The tables of §5.1.6.5.2. @param addresses 6 bytes each; undefined: more than fit */
  setTable(unicast: Uint8Array | undefined, multicast: Uint8Array | undefined): void {
    this.#unicast = unicast && numbersOf(unicast);
    this.#multicast = multicast && numbersOf(multicast);
  }

  /** @param at where in `frame` the destination lies */
  accepts(frame: Uint8Array, at = 0): boolean {
    if (!this.filtering || this.#modes[RX.PROMISC]) return true;
    const destination = macNumber(frame, at);
    if (destination === this.#own && !this.#modes[RX.NOUNI]) return true;
    if (destination === BROADCAST) return !this.#modes[RX.NOBCAST];
    if ((destination / GROUP) & 1) {
      if (this.#modes[RX.NOMULTI]) return false;
      return this.#modes[RX.ALLMULTI] === true || (this.#multicast?.has(destination) ?? true);
    }
    if (this.#modes[RX.NOUNI]) return false;
    if (this.#modes[RX.ALLUNI]) return true;
    return this.#unicast?.has(destination) ?? true;
  }
}

function numbersOf(addresses: Uint8Array): Set<number> {
  const numbers = new Set<number>();
  for (let at = 0; at < addresses.length; at += ADDRESS) numbers.add(macNumber(addresses, at));
  return numbers;
}
