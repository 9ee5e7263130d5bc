/**
 * The register page over the native addon (native/register_page.h). Devices see only bus/register-page.ts.
 * Runs on: main.
 */
import type { ByteRing, RegisterPage, RegisterSlot, SharedWord, Space, Width } from '../bus/register-page.js';
import { addon, type NativeRegisterPage } from '../host/addon.js';

/** Sizes fixed in native/register_page.h. */
const WORDS = 256;
const SLOTS = 256;
const SPACE = { pio: 0, mmio: 1 } as const;
const ACTION = { DISABLED: 0, READ_WORD: 1, CLEAR_BITS: 2, POST_BYTE: 3 } as const;

class Word implements SharedWord {
  constructor(
    private readonly words: Uint32Array,
    readonly index: number,
  ) {}
  load(): number {
    return Atomics.load(this.words, this.index);
  }
  store(value: number): void {
    Atomics.store(this.words, this.index, value);
  }
  or(bits: number): number {
    return Atomics.or(this.words, this.index, bits);
  }
  clear(bits: number): number {
    return Atomics.and(this.words, this.index, ~bits);
  }
}

class Slot implements RegisterSlot {
  constructor(
    private readonly actions: Uint32Array,
    private readonly index: number,
    private readonly action: number,
  ) {}
  get enabled(): boolean {
    return Atomics.load(this.actions, this.index) !== ACTION.DISABLED;
  }
  set enabled(on: boolean) {
    Atomics.store(this.actions, this.index, on ? this.action : ACTION.DISABLED);
  }
}

class Ring implements ByteRing {
  onBytes: (() => void) | undefined;
  constructor(
    private readonly native: NativeRegisterPage,
    readonly index: number,
  ) {}
  take(into: Uint8Array): number {
    return this.native.take(this.index, into);
  }
}

export class SharedRegisterPage implements RegisterPage {
  readonly #words = new Uint32Array(WORDS);
  readonly #actions = new Uint32Array(SLOTS);
  readonly #rings: Ring[] = [];
  #usedWords = 0;
  /** For the vCPU threads. */
  readonly native: NativeRegisterPage;

  /** @param eventfd told when a ring that was empty has bytes; its owner then calls `deliver` */
  constructor(private readonly eventfd: number) {
    this.native = new addon.RegisterPage(this.#words.buffer, this.#actions.buffer);
  }

  word(initial = 0): SharedWord {
    if (this.#usedWords === WORDS) throw new RangeError('register page: out of words');
    const word = new Word(this.#words, this.#usedWords++);
    word.store(initial);
    return word;
  }
  ring(size: number): ByteRing {
    const ring = new Ring(this.native, this.native.addRing(size, this.eventfd));
    this.#rings.push(ring);
    return ring;
  }
  readWord(space: Space, address: number, width: Width, word: SharedWord): RegisterSlot {
    return this.#add(space, address, width, ACTION.READ_WORD, (word as Word).index);
  }
  clearBits(space: Space, address: number, width: Width, word: SharedWord): RegisterSlot {
    return this.#add(space, address, width, ACTION.CLEAR_BITS, (word as Word).index);
  }
  postByte(space: Space, address: number, ring: ByteRing): RegisterSlot {
    return this.#add(space, address, 1, ACTION.POST_BYTE, (ring as Ring).index);
  }

  /** Lets every ring's device look for bytes. */
  deliver(): void {
    for (const ring of this.#rings) ring.onBytes?.();
  }

  #add(space: Space, address: number, width: Width, action: number, operand: number): RegisterSlot {
    return new Slot(this.#actions, this.native.add(SPACE[space], address, width, action, operand), action);
  }
}
