/**
 * What the guest wrote to its console: the last part of it as text, and people waiting for a pattern in it.
 * Like expect(1), each wait looks at what earlier waits have not consumed.
 * Runs on: main.
 */
import { VmmError } from '../base/errors.js';

/** Characters kept: enough for a whole boot log; a guest that never stops writing costs no more. */
const KEPT = 256 * 1024;

interface Waiter {
  readonly pattern: string | RegExp;
  readonly resolve: (text: string) => void;
  readonly reject: (error: unknown) => void;
}

/** How long `waitFor` waits. */
export interface WaitOptions {
  /** Milliseconds; no limit when absent. */
  readonly timeout?: number | undefined;
  /** Ends the wait, not the VM; the wait rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
}

export class ConsoleLog {
  readonly #decoder = new TextDecoder();
  #text = '';
  /** Start of what no wait has consumed, an index into #text. */
  #unread = 0;
  readonly #waiters: Waiter[] = [];
  #ended: VmmError | undefined;
  #matchLater: NodeJS.Immediate | undefined;

  append(bytes: Uint8Array): void {
    this.#text += this.#decoder.decode(bytes, { stream: true });
    // Twice the limit before cutting: cutting at every append would copy the text each time.
    if (this.#text.length > 2 * KEPT) {
      const cut = this.#text.length - KEPT;
      this.#text = this.#text.slice(cut);
      this.#unread = Math.max(0, this.#unread - cut);
    }
    // Once a turn: a guest that writes a byte at a time must not have all the text searched for each.
    if (this.#waiters.length > 0) this.#matchLater ??= setImmediate(() => this.#match());
  }

  /** The last `lines` lines. */
  tail(lines: number): string {
    return this.#text.trimEnd().split('\n').slice(-lines).join('\n');
  }

  /** Whether the last `characters` match. */
  endsLike(pattern: RegExp, characters = 4096): RegExpExecArray | null {
    return pattern.exec(this.#text.slice(-characters));
  }

  /**
   * Resolves with everything written up to and including the first match of `pattern` after the previous one.
   * @throws VmmError ERR_TIMEOUT with the console's tail as hint; ERR_GUEST_EXIT when the guest ended first; the signal's reason
   */
  waitFor(pattern: string | RegExp, { timeout, signal }: WaitOptions = {}): Promise<string> {
    return new Promise<string>((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      let timer: NodeJS.Timeout | undefined;
      const settle =
        <T>(done: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', onAbort);
          const index = this.#waiters.indexOf(waiter);
          if (index >= 0) this.#waiters.splice(index, 1);
          done(value);
        };
      const waiter: Waiter = { pattern, resolve: settle(resolve), reject: settle(reject) };
      const giveUp = (reason: unknown): void => {
        this.#match(); // what is there already counts, also when nobody has looked yet
        waiter.reject(reason);
        this.#match(); // and those behind this one may have waited only for it
      };
      const onAbort = (): void => giveUp(signal?.reason);
      if (timeout !== undefined) {
        timer = setTimeout(() => {
          const hint = `the console ends with:\n${this.tail(10)}`;
          giveUp(
            new VmmError('ERR_TIMEOUT', `no ${String(pattern)} on the console in ${timeout} ms`, { hint }),
          );
        }, timeout);
      }
      signal?.addEventListener('abort', onAbort);
      this.#waiters.push(waiter);
      this.#match();
    });
  }

  /** No more output will come; whoever still waits is told why. */
  end(why: string): void {
    this.#ended = new VmmError('ERR_GUEST_EXIT', why, { hint: `the console ends with:\n${this.tail(10)}` });
    this.#match();
  }

  /** Serves the waiters in order: each consumes its match. */
  #match(): void {
    clearImmediate(this.#matchLater);
    this.#matchLater = undefined;
    for (let waiter = this.#waiters[0]; waiter; waiter = this.#waiters[0]) {
      const end = findEnd(this.#text, this.#unread, waiter.pattern);
      if (end === undefined) break;
      const text = this.#text.slice(this.#unread, end);
      this.#unread = end;
      waiter.resolve(text);
    }
    if (this.#ended) for (const waiter of [...this.#waiters]) waiter.reject(this.#ended);
  }
}

function findEnd(text: string, from: number, pattern: string | RegExp): number | undefined {
  if (typeof pattern === 'string') {
    const at = text.indexOf(pattern, from);
    return at < 0 ? undefined : at + pattern.length;
  }
  const match = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).exec(text.slice(from));
  return match ? from + match.index + match[0].length : undefined;
}
