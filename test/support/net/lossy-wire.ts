/** One direction of a wire that loses, delays, repeats and reorders frames as a seeded source of chance says. */
import type { Random } from '../random.js';

export interface WireFaults {
  /** Probabilities, 0 … 1. */
  readonly loss?: number;
  readonly duplicate?: number;
  readonly reorder?: number;
  readonly corrupt?: number;
  /** Every frame takes so long, ms. */
  readonly delay?: number;
  /** Frames on the wire at once; more are not taken. */
  readonly capacity?: number;
}

export interface WireClock {
  after(ms: number, action: () => void): () => void;
}

export class LossyWire<T> {
  readonly #random: Random;
  readonly #clock: WireClock;
  readonly #faults: WireFaults;
  readonly #deliver: (item: T) => void;
  /** Spoils an item; used with `corrupt`. */
  readonly #spoil: (item: T, random: Random) => T;
  #underWay = 0;
  lost = 0;
  sent = 0;
  /** Called when a frame has left the wire. */
  onRoom: (() => void) | undefined;

  constructor(
    clock: WireClock,
    random: Random,
    faults: WireFaults,
    deliver: (item: T) => void,
    spoil: (item: T, random: Random) => T = (item) => item,
  ) {
    this.#clock = clock;
    this.#random = random;
    this.#faults = faults;
    this.#deliver = deliver;
    this.#spoil = spoil;
  }

  /** @returns whether it was taken */
  send(item: T): boolean {
    const { loss = 0, duplicate = 0, capacity = Number.POSITIVE_INFINITY } = this.#faults;
    if (this.#underWay >= capacity) return false;
    this.sent += 1;
    if (this.#random.chance(loss)) {
      this.lost += 1;
      return true;
    }
    this.#carry(item);
    if (this.#random.chance(duplicate)) this.#carry(item);
    return true;
  }

  #carry(item: T): void {
    const { delay = 0, reorder = 0, corrupt = 0 } = this.#faults;
    const late = this.#random.chance(reorder) ? (delay + 1) * (1 + this.#random.below(4)) : 0;
    const arrived = this.#random.chance(corrupt) ? this.#spoil(item, this.#random) : item;
    this.#underWay += 1;
    this.#clock.after(delay + late, () => {
      this.#underWay -= 1;
      this.#deliver(arrived);
      this.onRoom?.();
    });
  }
}
