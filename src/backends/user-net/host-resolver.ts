/**
 * Names as the host knows them: addresses by the system's resolver, which reads /etc/hosts and whatever else the host is set up
 * with; other records by DNS itself. Runs on: main.
 */
import { lookup, Resolver } from 'node:dns/promises';
import { type Address, parseAddress } from './address.js';

/** `lookup` holds a thread of libuv's four; `node:fs` needs some too. */
const MAX_LOOKUPS = 2;
/** Questions that wait for a thread; more fail at once. */
const MAX_WAITING = 64;
/** The answer for A serves AAAA as well, which most programs ask for in the same moment. */
const KEPT_MS = 2_000;
const MAX_KEPT = 256;

/** There is no such name; `Busy` and all else: try again. */
export class NoSuchName extends Error {}

export class HostResolver {
  readonly #kept = new Map<string, { readonly at: number; readonly answer: Promise<Address[]> }>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #resolver: Resolver | undefined;

  /** All addresses of a name, both kinds. @throws NoSuchName, or an Error of the system's */
  addresses(name: string): Promise<Address[]> {
    const now = Date.now();
    const kept = this.#kept.get(name);
    if (kept && now - kept.at < KEPT_MS) return kept.answer;
    const answer = this.#lookup(name);
    answer.catch(() => {}); // who asks for it sees the failure
    this.#kept.delete(name);
    this.#kept.set(name, { at: now, answer });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    return answer;
  }

  /** Records that are no addresses, as Node gives them. @throws NoSuchName, or an Error of DNS */
  async records(name: string, type: string): Promise<unknown[]> {
    this.#resolver ??= new Resolver({ timeout: 3_000, tries: 2 });
    try {
      const found: unknown = await this.#resolver.resolve(name, type as 'TXT');
      return Array.isArray(found) ? found : [found];
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENODATA') return [];
      if (code === 'ENOTFOUND') throw new NoSuchName(name);
      throw error;
    }
  }

  close(): void {
    this.#resolver?.cancel();
    this.#kept.clear();
  }

  async #lookup(name: string): Promise<Address[]> {
    await this.#turn();
    try {
      const found = await lookup(name, { all: true, verbatim: true });
      return found.flatMap(({ address }) => parseAddress(address) ?? []);
    } catch (error) {
      // ENOTFOUND stands for "no such name" and "no address" alike.
      if ((error as NodeJS.ErrnoException).code === 'ENOTFOUND') throw new NoSuchName(name);
      throw error;
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    if (this.#running >= MAX_LOOKUPS) {
      if (this.#waiting.length >= MAX_WAITING) throw new Error('too many questions at once');
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running += 1;
  }
}
