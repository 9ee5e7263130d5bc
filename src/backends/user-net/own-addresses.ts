/** The host's own addresses: services that listen on all of them are as near as loopback. Runs on: main. */
import { networkInterfaces } from 'node:os';
import { type Address, parseAddress } from './address.js';
import type { Clock } from './clock.js';

/** Interfaces come and go; asking takes some 100 µs. */
const VALID_MS = 5_000;

export class OwnAddresses {
  readonly #clock: Clock;
  readonly #list: () => NodeJS.Dict<readonly { readonly address: string }[]>;
  /** undefined: it could not be found out. */
  #addresses: ReadonlySet<string> | undefined;
  #until = Number.NEGATIVE_INFINITY;

  /** @param list the host's interfaces with their addresses */
  constructor(
    clock: Clock,
    list: () => NodeJS.Dict<readonly { readonly address: string }[]> = networkInterfaces,
  ) {
    this.#clock = clock;
    this.#list = list;
  }

  /** Whether an address is the host's; also when that cannot be found out, which the host may forbid: then all could be. */
  has(address: Address): boolean {
    const now = this.#clock.now();
    if (now >= this.#until) {
      this.#until = now + VALID_MS;
      this.#addresses = this.#find();
    }
    return this.#addresses?.has(String(address)) ?? true;
  }

  #find(): ReadonlySet<string> | undefined {
    try {
      const all = Object.values(this.#list()).flatMap((list) => list ?? []);
      return new Set(all.map(({ address }) => String(parseAddress(address.replace(/%.*/, '')))));
    } catch {
      return;
    }
  }
}
