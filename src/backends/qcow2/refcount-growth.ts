/**
 * A larger refcount table, when the file outgrows the old one: behind everything the old table can count, together with
 * the blocks that count the new table, these blocks and nothing else. The header is switched over, in one sector, only
 * when all of that is durable. QEMU docs/interop/qcow2.txt "Host cluster management".
 *
 * Runs while no write-out runs. Blocks that the old table on disk does not name yet are in the file already (allocator.ts),
 * so the sync here covers them too.
 */
import { MiB } from '../../base/units.js';
import { ImageError } from './image-error.js';
import type { ImageFile } from './image-file.js';
import { writeRefcount } from './refcount-width.js';
import { encodeTable, type Refcounts } from './refcounts.js';

/** QEMU opens no image with a larger one. */
const MAX_TABLE_BYTES = 8 * MiB;

export interface GrownTable {
  /** Host clusters of the blocks and, behind them, of the table. */
  readonly first: number;
  readonly count: number;
  /** Where the old table was; it is free once the header is switched. */
  readonly old: { readonly first: number; readonly count: number };
}

/** Where the pieces go. `entries` of the old table, `perBlock` clusters to a block. */
export function planGrowth(
  entries: number,
  perBlock: number,
  clusterSize: number,
): { readonly first: number; readonly blocks: number; readonly tableClusters: number } {
  const perCluster = clusterSize / 8;
  const tableClusters = Math.ceil((entries * 1.5 + 2) / perCluster);
  if (tableClusters * clusterSize > MAX_TABLE_BYTES)
    throw new ImageError('the image file is full: no more reference counts');
  let blocks = 1;
  while (blocks * perBlock < tableClusters + blocks) blocks += 1;
  // Half as many entries again, or a whole cluster of them, always hold the few new blocks: a block counts 64 clusters
  // at least, and a table of T clusters has 64 T entries at least.
  return { first: entries * perBlock, blocks, tableClusters };
}

/** Writes the new blocks and table and makes the header name them. @param switchHeader writes offset and clusters, durably */
export async function growRefcountTable(
  file: ImageFile,
  refcounts: Refcounts,
  clusterSize: number,
  switchHeader: (offset: number, clusters: number) => Promise<void>,
): Promise<GrownTable> {
  const { capacity, perBlock, order, tableRange } = refcounts;
  const { first, blocks, tableClusters } = planGrowth(capacity, perBlock, clusterSize);
  const count = blocks + tableClusters;
  const table = refcounts.copyTable((tableClusters * clusterSize) / 8);
  const counts = new Uint8Array(blocks * clusterSize);
  for (let block = 0; block < blocks; block += 1) {
    table[capacity + block] = (first + block) * clusterSize;
    const view = new DataView(counts.buffer, block * clusterSize, clusterSize);
    const used = Math.min(perBlock, count - block * perBlock);
    for (let index = 0; index < used; index += 1) writeRefcount(view, order, index, 1);
  }
  const offset = (first + blocks) * clusterSize;
  await file.writev(first * clusterSize, [counts, encodeTable(table)]);
  await file.sync();
  await switchHeader(offset, tableClusters);
  refcounts.cache.drop(first * clusterSize, blocks * clusterSize);
  refcounts.replaceTable(table, offset);
  const old = { first: tableRange.offset / clusterSize, count: tableRange.length / clusterSize };
  return { first, count, old };
}
