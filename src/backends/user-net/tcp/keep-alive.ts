/** Whether a silent guest is still there: asked after two hours, given up after nine questions (RFC 9293 §3.8.4). Runs on: main. */
import { type Clock, LazyTimer } from '../clock.js';

/** Time without a word before the first question, and between questions, ms. */
const IDLE_MS = 2 * 3600 * 1000;
const EVERY_MS = 75_000;
const QUESTIONS = 9;

export class KeepAlive {
  readonly #timer: LazyTimer;
  #asked = 0;

  /**
   * @param ask is to send what a guest that is there answers
   * @param gone hears that it never did
   */
  constructor(clock: Clock, ask: () => void, gone: () => void) {
    this.#timer = new LazyTimer(clock, () => {
      this.#asked += 1;
      if (this.#asked > QUESTIONS) {
        gone();
        return;
      }
      ask();
      this.#timer.set(EVERY_MS);
    });
  }

  /** The guest was heard of. */
  heard(): void {
    this.#asked = 0;
    this.#timer.set(IDLE_MS);
  }

  stop(): void {
    this.#timer.stop();
  }
}
