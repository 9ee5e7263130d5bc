/** Time that passes only when nothing is left to do: an hour of retransmissions takes a moment, and always the same way. */

interface Entry {
  readonly at: number;
  readonly order: number;
  readonly action: () => void;
}

export class VirtualClock {
  #now = 0;
  #order = 0;
  /** A binary heap: the earliest first, and among equals who came first. */
  readonly #heap: Entry[] = [];
  readonly #cancelled = new Set<Entry>();

  now = (): number => this.#now;

  after = (ms: number, action: () => void): (() => void) => {
    const entry = { at: this.#now + Math.max(ms, 0), order: (this.#order += 1), action };
    this.#push(entry);
    return () => this.#cancelled.add(entry);
  };

  soon = (action: () => void): void => void this.after(0, action);

  /** Runs everything due until `done` or nothing is left. @returns whether `done` came true */
  run(done: () => boolean = () => false, limitMs = 24 * 3600_000): boolean {
    const end = this.#now + limitMs;
    for (;;) {
      if (done()) return true;
      const entry = this.#heap[0];
      if (!entry || entry.at > end) {
        this.#now = entry ? end : this.#now;
        return done();
      }
      this.#pop();
      if (this.#cancelled.delete(entry)) continue;
      this.#now = entry.at;
      entry.action();
    }
  }

  /** Lets `ms` pass. */
  advance(ms: number): void {
    const until = this.#now + ms;
    this.run(() => false, ms);
    this.#now = until;
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!earlier(heap[index]!, heap[parent]!)) break;
      [heap[index], heap[parent]] = [heap[parent]!, heap[index]!];
      index = parent;
    }
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    heap[0] = last;
    for (let index = 0; ; ) {
      let least = index;
      for (const child of [2 * index + 1, 2 * index + 2]) {
        if (child < heap.length && earlier(heap[child]!, heap[least]!)) least = child;
      }
      if (least === index) return;
      [heap[index], heap[least]] = [heap[least]!, heap[index]!];
      index = least;
    }
  }
}

const earlier = (a: Entry, b: Entry): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
