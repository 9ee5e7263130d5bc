/**
 * An address space (ports or MMIO): who owns which range, and one way to access it.
 * Reads of nothing give all ones and writes to nothing are dropped, as on a PC; both are counted.
 * Runs on: main.
 */
import { hex } from '../base/units.js';

/** A device on a bus. `data` is 1, 2, 4 or 8 bytes, little-endian, valid only until the call's end. */
export interface BusDevice {
  /** Fills `data`. A promise keeps the vCPU waiting until it settles. */
  read(offset: number, data: Uint8Array): void | Promise<void>;
  write(offset: number, data: Uint8Array): void | Promise<void>;
}

interface Claim {
  readonly base: number;
  readonly end: number;
  readonly name: string;
  readonly device: BusDevice;
}

export class Bus {
  /** Sorted by base. */
  readonly #claims: Claim[] = [];
  #last: Claim | undefined;
  /** Accesses that met no device, by address; at most 256 addresses are told apart. */
  readonly unclaimed = new Map<number, number>();

  constructor(readonly name: 'pio' | 'mmio') {}

  /** Gives [base, base + length) to `device`. @throws RangeError if any of it is taken: a wiring mistake of ours */
  claim(base: number, length: number, name: string, device: BusDevice): void {
    const claim = { base, end: base + length, name, device };
    const index = this.#claims.findIndex((other) => other.base >= claim.end);
    const at = index === -1 ? this.#claims.length : index;
    const before = this.#claims[at - 1];
    if (before && before.end > base) throw new RangeError(`${name} at ${hex(base)} overlaps ${before.name}`);
    this.#claims.splice(at, 0, claim);
  }

  /** The name of the device at `address`, for traces. */
  owner(address: number): string | undefined {
    return this.#find(address, 1)?.name;
  }

  /** Carries one access to its device. An access that is not wholly inside one claim meets nothing. */
  access(address: number, data: Uint8Array, isWrite: boolean): void | Promise<void> {
    const claim = this.#find(address, data.length);
    if (!claim) {
      if (!isWrite) data.fill(0xff);
      if (this.unclaimed.size < 256 || this.unclaimed.has(address)) {
        this.unclaimed.set(address, (this.unclaimed.get(address) ?? 0) + 1);
      }
      return undefined;
    }
    const offset = address - claim.base;
    return isWrite ? claim.device.write(offset, data) : claim.device.read(offset, data);
  }

  #find(address: number, length: number): Claim | undefined {
    const last = this.#last;
    if (last && address >= last.base && address + length <= last.end) return last;
    let low = 0;
    let high = this.#claims.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const claim = this.#claims[middle]!;
      if (address < claim.base) high = middle;
      else if (address >= claim.end) low = middle + 1;
      else {
        if (address + length > claim.end) return undefined;
        this.#last = claim;
        return claim;
      }
    }
    return undefined;
  }
}
