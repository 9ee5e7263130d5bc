/** Which names the guest was told for which address: what makes a rule by name hold for a connection. Runs on: main. */
import type { Address } from './address.js';
import type { Clock } from './clock.js';

/** Addresses remembered; the one longest not told is forgotten. */
const MAX_ADDRESSES = 4096;
/** Names of one address: many sites share one. */
const MAX_NAMES = 32;
/** Programs keep addresses for longer than they were told to. */
const LIFETIME_MS = 6 * 3600_000;

export class Names {
  readonly #clock: Clock;
  readonly #names = new Map<string, Map<string, number>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  tell(name: string, address: Address): void {
    const key = String(address);
    const known = this.#names.get(key) ?? new Map<string, number>();
    this.#names.delete(key);
    this.#names.set(key, known);
    known.delete(name);
    known.set(name, this.#clock.now());
    trim(known, MAX_NAMES);
    trim(this.#names, MAX_ADDRESSES);
  }

  /** The names of an address, the one told last first. */
  of(address: Address): string[] {
    const since = this.#clock.now() - LIFETIME_MS;
    return [...(this.#names.get(String(address)) ?? [])]
      .filter(([, at]) => at >= since)
      .map(([name]) => name)
      .reverse();
  }
}

function trim(map: Map<string, unknown>, most: number): void {
  const [oldest] = map.keys();
  if (map.size > most && oldest !== undefined) map.delete(oldest);
}
