/**
 * Which card has which address: learned from what the guest sends, asked for when it is not known. A guest may have several
 * addresses and cards (bridges, containers); all it can fill is a table with a limit.
 * Runs on: main.
 */
import type { Address } from './address.js';
import type { Clock } from './clock.js';
import { isGroup, type Mac, sameBytes } from './ethernet.js';

/** Addresses that are remembered; who was not heard of longest is forgotten. */
const MAX_KNOWN = 256;
/** Addresses that are asked for at once, and packets that wait for each. */
const MAX_ASKED = 32;
const MAX_WAITING = 4;
/** How often, and how many times in all (RFC 1122 §2.3.2.1 allows one a second). */
const ASK_EVERY_MS = 1_000;
const MAX_QUESTIONS = 5;

interface Question {
  readonly waiting: ((mac: Mac) => void)[];
  asked: number;
  cancel: () => void;
}

export class Neighbours {
  readonly #clock: Clock;
  readonly #ask: (address: Address) => void;
  readonly #known = new Map<string, Mac>();
  readonly #questions = new Map<string, Question>();
  /** The one learned last: nearly every packet is from it and for it. */
  #recent: { readonly address: Address; readonly mac: Mac } | undefined;

  /** @param ask sends an ARP request or a neighbour solicitation */
  constructor(clock: Clock, ask: (address: Address) => void) {
    this.#clock = clock;
    this.#ask = ask;
  }

  learn(address: Address, mac: Mac): void {
    const recent = this.#recent;
    if (recent && sameBytes(recent.address, address) && sameBytes(recent.mac, mac)) return;
    if (isGroup(mac)) return;
    this.#recent = { address: address.slice(), mac: mac.slice() };
    const key = String(address);
    const before = this.#known.get(key);
    if (!before || !sameBytes(before, mac)) {
      this.#known.delete(key);
      this.#known.set(key, mac.slice());
      const [oldest] = this.#known.keys();
      if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
    }
    const question = this.#questions.get(key);
    if (!question) return;
    this.#questions.delete(key);
    question.cancel();
    for (const send of question.waiting) send(this.#known.get(key)!);
  }

  find(address: Address): Mac | undefined {
    if (this.#recent && sameBytes(this.#recent.address, address)) return this.#recent.mac;
    return this.#known.get(String(address));
  }

  /** Calls `send` as soon as the address is known; never if nobody answers. @returns false when too much waits already */
  whenKnown(address: Address, send: (mac: Mac) => void): boolean {
    const key = String(address);
    const question = this.#questions.get(key);
    if (question) {
      if (question.waiting.length >= MAX_WAITING) return false;
      question.waiting.push(send);
      return true;
    }
    if (this.#questions.size >= MAX_ASKED) return false;
    const created: Question = { waiting: [send], asked: 0, cancel: () => {} };
    this.#questions.set(key, created);
    this.#askFor(address, key, created);
    return true;
  }

  close(): void {
    for (const { cancel } of this.#questions.values()) cancel();
    this.#questions.clear();
  }

  #askFor(address: Address, key: string, question: Question): void {
    if (question.asked >= MAX_QUESTIONS) {
      this.#questions.delete(key);
      return;
    }
    question.asked += 1;
    question.cancel = this.#clock.after(ASK_EVERY_MS, () => this.#askFor(address, key, question));
    this.#ask(address);
  }
}
