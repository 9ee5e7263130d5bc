/** Counts of exits that reached main, by kind and by address. Runs on: main. */

/** Addresses told apart; a guest that walks all of guest-physical space must not fill the host's memory. */
const MAX_ADDRESSES = 512;

export class ExitStats {
  readonly kinds = new Map<string, number>();
  /** `pio` and `mmio` accesses by address. */
  readonly pio = new Map<number, number>();
  readonly mmio = new Map<number, number>();

  /** All exits. */
  total = 0;

  count(kind: string): void {
    this.total += 1;
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
  }

  access(kind: 'pio' | 'mmio', address: number): void {
    this.count(kind);
    const addresses = this[kind];
    const before = addresses.get(address);
    if (before !== undefined || addresses.size < MAX_ADDRESSES) addresses.set(address, (before ?? 0) + 1);
  }
}
