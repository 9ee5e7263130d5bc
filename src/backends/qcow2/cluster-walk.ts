/**
 * How a request goes over the clusters of the disk: cut into runs of neighbours that are served by one call, which then wait for
 * the file side by side.
 * Runs on: main.
 */
import { lengthOf, type Pieces } from '../../base/pieces.js';
import { BufferCursor } from './buffer-cursor.js';
import type { ClusterMap } from './cluster-map.js';
import type { Mapping } from './l2-entry.js';
import { Parts } from './order.js';

/** Runs of one request that wait for the file at the same time. */
const PARALLEL = 64;

export interface RunServer {
  /** Guest offset up to which clusters continue the run that starts with `mapping`; beyond `end` does not matter. */
  spanOf(cluster: number, mapping: Mapping, end: number): number;
  /** Serves the run, or a part of it, from guest offset `at` on. */
  serve(mapping: Mapping, at: number, pieces: Pieces): void | Promise<void>;
}

/** Serves a request run by run. Waits for all that was started, also when one fails: their buffers are lent until then. */
export async function serveRuns(
  map: ClusterMap,
  offset: number,
  pieces: Pieces,
  server: RunServer,
): Promise<void> {
  const end = offset + lengthOf(pieces);
  const cursor = new BufferCursor(pieces);
  const parts = new Parts();
  try {
    for (let at = offset; at < end; ) {
      const cluster = Math.floor(at / map.clusterSize);
      const mapping = await map.get(cluster);
      const next = Math.min(end, server.spanOf(cluster, mapping, end));
      parts.add(server.serve(mapping, at, cursor.take(next - at)));
      at = next;
      if (parts.count === PARALLEL) await parts.settle();
    }
  } finally {
    await parts.settle();
  }
}

/**
 * Guest offset of the first cluster behind `cluster` that does not go on like it. Looks only at what is in memory.
 * @param continues whether a cluster that far behind does
 * @param most clusters of a run
 */
export function runEnd(
  map: ClusterMap,
  cluster: number,
  end: number,
  continues: (other: Mapping, distance: number) => boolean,
  most = Number.POSITIVE_INFINITY,
): number {
  let next = cluster + 1;
  for (; next * map.clusterSize < end && next - cluster < most; next += 1) {
    const other = map.peek(next);
    if (!other || !continues(other, next - cluster)) break;
  }
  return next * map.clusterSize;
}
