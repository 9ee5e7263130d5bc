/** The register page as a vCPU thread serves it, without threads: for tests of devices that use it. */
import type { ByteRing, RegisterPage, RegisterSlot, SharedWord, Space } from '../../src/bus/register-page.js';

class Word implements SharedWord {
  constructor(private value: number) {}
  load(): number {
    return this.value;
  }
  store(value: number): void {
    this.value = value;
  }
  or(bits: number): number {
    const before = this.value;
    this.value |= bits;
    return before;
  }
  clear(bits: number): number {
    const before = this.value;
    this.value &= ~bits;
    return before;
  }
}

class Ring implements ByteRing {
  onBytes: (() => void) | undefined;
  readonly bytes: number[] = [];
  constructor(readonly size: number) {}
  take(into: Uint8Array): number {
    const taken = this.bytes.splice(0, into.length);
    into.set(taken);
    return taken.length;
  }
}

interface Slot extends RegisterSlot {
  readonly read?: () => number;
  readonly write?: (value: number) => boolean;
}

export class PageModel implements RegisterPage {
  readonly #slots = new Map<string, Slot>();
  readonly #rings: Ring[] = [];

  /** What the guest reads without main; undefined when the access goes to the bus. */
  read(address: number, width = 1, space: Space = 'pio'): number | undefined {
    const slot = this.#slots.get(`${space} ${address} ${width}`);
    return slot?.enabled ? slot.read?.() : undefined;
  }
  /** @returns whether the guest's write was taken without main */
  write(address: number, value: number, width = 1, space: Space = 'pio'): boolean {
    const slot = this.#slots.get(`${space} ${address} ${width}`);
    return (slot?.enabled && slot.write?.(value)) ?? false;
  }
  /** What main's doorbell does. */
  deliver(): void {
    for (const ring of this.#rings) ring.onBytes?.();
  }

  word(initial = 0): SharedWord {
    return new Word(initial);
  }
  ring(size: number): ByteRing {
    const ring = new Ring(size);
    this.#rings.push(ring);
    return ring;
  }
  readWord(space: Space, address: number, width: number, word: SharedWord): RegisterSlot {
    return this.#add(space, address, width, { enabled: false, read: () => word.load() });
  }
  clearBits(space: Space, address: number, width: number, word: SharedWord): RegisterSlot {
    const write = (value: number): boolean => {
      word.clear(value);
      return true;
    };
    return this.#add(space, address, width, { enabled: false, write });
  }
  postByte(space: Space, address: number, ring: ByteRing): RegisterSlot {
    const { bytes, size } = ring as Ring;
    const write = (value: number): boolean => {
      if (bytes.length === size) return false;
      bytes.push(value & 0xff);
      return true;
    };
    return this.#add(space, address, 1, { enabled: false, write });
  }

  #add(space: Space, address: number, width: number, slot: Slot): RegisterSlot {
    this.#slots.set(`${space} ${address} ${width}`, slot);
    return slot;
  }
}
