import { describe, expect, it } from 'vitest';
import { parseHeader } from '../../../../src/backends/qcow2/header.js';
import { PageCache } from '../../../../src/backends/qcow2/page-cache.js';
import { planGrowth } from '../../../../src/backends/qcow2/refcount-growth.js';
import { Refcounts } from '../../../../src/backends/qcow2/refcounts.js';
import { PowerLossFile } from '../../../support/power-loss-file.js';
import { buildQcow2 } from '../../../support/qcow2-builder.js';

const CLUSTER = 512;

async function load(edit: (view: DataView) => void = () => {}): Promise<Refcounts> {
  const bytes = buildQcow2({ size: 2 ** 20, clusterBits: 9, refcountOrder: 4 });
  edit(new DataView(bytes.buffer));
  const file = new PowerLossFile(bytes);
  const cache = new PageCache(file, CLUSTER, 8, async () => {});
  return Refcounts.load(file, parseHeader(bytes.subarray(0, CLUSTER), bytes.length), cache);
}

describe('the refcount table', () => {
  it('is written without the blocks that this write-out did not cover', async () => {
    const refcounts = await load();
    refcounts.addBlock(5, 100 * CLUSTER);
    const covered = new Set(refcounts.unlinked);
    refcounts.addBlock(6, 101 * CLUSTER);
    const [sector] = refcounts.tableSectors(covered);
    const view = new DataView(sector!.bytes.buffer);
    expect(sector!.offset).toBe(CLUSTER);
    expect([0, 5, 6].map((index) => Number(view.getBigUint64(index * 8)))).toEqual([
      2 * CLUSTER,
      100 * CLUSTER,
      0,
    ]);
  });

  it.each([
    ['not aligned', 0x3_0100n],
    ['outside the file', 0x1000_0000n],
    ['beyond any file', 1n << 62n],
  ])('is refused with a block %s', async (_, entry) => {
    await expect(load((view) => view.setBigUint64(CLUSTER + 8, entry))).rejects.toThrow('refcount block 1');
  });

  it('refuses to go below zero', async () => {
    const refcounts = await load();
    await refcounts.lower(0);
    await expect(refcounts.lower(0)).rejects.toThrow('reference count of 0');
  });
});

describe('the growth of a refcount table', () => {
  it('has room for the blocks that count it, whatever the shape', () => {
    for (let bits = 9; bits <= 21; bits += 1) {
      for (let order = 0; order <= 6; order += 1) {
        const clusterSize = 2 ** bits;
        const perBlock = (clusterSize * 8) / 2 ** order;
        for (let clusters = 1; clusters * clusterSize <= 4 * 2 ** 20; clusters *= 2) {
          const entries = (clusters * clusterSize) / 8;
          const plan = planGrowth(entries, perBlock, clusterSize);
          expect(plan.blocks * perBlock).toBeGreaterThanOrEqual(plan.blocks + plan.tableClusters);
          expect((plan.tableClusters * clusterSize) / 8).toBeGreaterThan(entries + plan.blocks);
        }
      }
    }
  });

  it('ends at 8 MiB, which QEMU opens at most', () => {
    expect(() => planGrowth((8 * 2 ** 20) / 8, 32768, 65536)).toThrow('full');
  });
});
