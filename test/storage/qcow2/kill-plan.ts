/** The same requests in the process that writes and in the one that checks, from a seed. */
import { Random } from '../../support/random.js';

export interface Group {
  /** In flight together; they do not overlap. */
  readonly requests: readonly { readonly first: number; readonly count: number; readonly contents: number }[];
  readonly flush: boolean;
}

/** @returns the next group at each call */
export function killPlan(seed: number, sectors: number): () => Group {
  const random = new Random(seed);
  let id = seed * 1_000_000;
  return () => {
    const requests: Group['requests'][number][] = [];
    for (let index = 0; index < 4; index += 1) {
      const first = random.below(sectors);
      const count = Math.min(sectors - first, 1 + random.below(random.chance(0.1) ? 512 : 32));
      id += 1;
      const contents = random.chance(0.15) ? 0 : id;
      if (requests.some((other) => other.first < first + count && first < other.first + other.count))
        continue;
      requests.push({ first, count, contents });
    }
    return { requests, flush: random.chance(0.3) };
  };
}
