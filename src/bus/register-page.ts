/**
 * Registers that the vCPU thread answers by itself, without a round trip to the event loop (DESIGN.md §2).
 * A device asks for slots here; the native thread knows only these three actions and no device:
 *
 *   read word    a guest read returns the shared word
 *   clear bits   a guest write of v does word &= ~v atomically
 *   post byte    a guest write appends its low byte to a ring and wakes main
 *
 * Anything that misses (another width, a full ring, a disabled slot) takes the ordinary way to the Bus,
 * so a device must answer the same registers there too, with the same meaning.
 * Runs on: main fills it; the vCPU threads read it.
 */

/** A 32-bit word shared with the vCPU threads; every method is atomic and sequentially consistent. */
export interface SharedWord {
  load(): number;
  store(value: number): void;
  /** Sets bits. @returns the value before */
  or(bits: number): number;
  /** Clears bits. @returns the value before */
  clear(bits: number): number;
}

/** One answered register. Slots start disabled. */
export interface RegisterSlot {
  /** While false the access goes to the Bus. Takes effect before the next guest instruction of the vCPU whose exit main is handling. */
  enabled: boolean;
}

/** Bytes the guest posted and main has not taken yet. */
export interface ByteRing {
  /** Takes up to `into.length` bytes. @returns how many */
  take(into: Uint8Array): number;
  /** Called on main soon after bytes arrived; several arrivals may share one call. */
  onBytes: (() => void) | undefined;
}

export type Space = 'pio' | 'mmio';
/** Access width, bytes. */
export type Width = 1 | 2 | 4;

export interface RegisterPage {
  word(initial?: number): SharedWord;
  /** @param size capacity in bytes, a power of two */
  ring(size: number): ByteRing;
  readWord(space: Space, address: number, width: Width, word: SharedWord): RegisterSlot;
  clearBits(space: Space, address: number, width: Width, word: SharedWord): RegisterSlot;
  postByte(space: Space, address: number, ring: ByteRing): RegisterSlot;
}
