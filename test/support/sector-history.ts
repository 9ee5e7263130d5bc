/**
 * What each sector of a disk may hold after a crash: the last contents that a flush covered, or anything written since.
 * Contents are numbers, stamped over the whole sector; 0 is a sector of zeroes.
 */

const SECTOR = 512;

interface Entry {
  readonly contents: number;
  /** When the request completed; a flush that starts later covers it. */
  done: number;
  /** A discard: what was there before may stay. */
  readonly optional: boolean;
}

export class SectorHistory {
  #clock = 0;
  readonly #sectors: Entry[][];

  constructor(count: number) {
    this.#sectors = Array.from({ length: count }, () => [{ contents: 0, done: 0, optional: false }]);
  }

  /** A request begins. @returns what to call when it has completed */
  begin(first: number, count: number, contents: number, optional = false): () => void {
    const entries = this.#sectors.slice(first, first + count).map((history) => {
      const entry: Entry = { contents, done: Number.POSITIVE_INFINITY, optional };
      history.push(entry);
      return entry;
    });
    return () => {
      this.#clock += 1;
      for (const entry of entries) entry.done = this.#clock;
    };
  }

  /** A flush begins. @returns what to call when it has completed */
  beginFlush(): () => void {
    const start = this.#clock;
    return () => {
      for (const history of this.#sectors) {
        const last = history.findLastIndex(({ done, optional }) => done <= start && !optional);
        history.splice(0, last);
      }
    };
  }

  /** The allowed contents of every sector now. */
  allowed(): Set<number>[] {
    return this.#sectors.map((history) => new Set(history.map(({ contents }) => contents)));
  }
}

export function stamp(sectors: number, contents: number): Uint8Array {
  const bytes = new Uint8Array(sectors * SECTOR);
  new Uint32Array(bytes.buffer).fill(contents);
  return bytes;
}

/** The contents of each sector; −1 for one that is torn or holds something else. */
export function stamps(bytes: Uint8Array): number[] {
  const words = new Uint32Array(bytes.slice().buffer);
  const perSector = SECTOR / 4;
  return Array.from({ length: bytes.length / SECTOR }, (_, sector) => {
    const first = words[sector * perSector]!;
    const whole = words
      .subarray(sector * perSector, (sector + 1) * perSector)
      .every((word) => word === first);
    return whole ? first : -1;
  });
}
