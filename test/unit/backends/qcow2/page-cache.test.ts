import { describe, expect, it } from 'vitest';
import { PageCache } from '../../../../src/backends/qcow2/page-cache.js';
import { PowerLossFile } from '../../../support/power-loss-file.js';

const PAGE = 512;

function setUp(capacity: number) {
  const bytes = new Uint8Array(64 * PAGE);
  for (let page = 0; page < 64; page += 1) bytes[page * PAGE] = page;
  const file = new PowerLossFile(bytes);
  const state = { writeOuts: 0 };
  const cache: PageCache = new PageCache(file, PAGE, capacity, async () => {
    state.writeOuts += 1;
    const dirty = cache.takeDirty();
    for (const { page, bytes: copy } of dirty) await file.writev(page.offset, [copy]);
    cache.settle(dirty, true);
  });
  const held = (): number[] =>
    Array.from({ length: 64 }, (_, page) => page).filter((page) => cache.peek(page * PAGE));
  return { file, cache, state, held };
}

describe('a page cache', () => {
  it('holds no more pages than it may', async () => {
    const { cache, held } = setUp(4);
    for (let page = 0; page < 32; page += 1) {
      await cache.load(page * PAGE);
      expect(cache.peek(page * PAGE)?.bytes[0]).toBe(page);
    }
    expect(held().length).toBeLessThanOrEqual(4);
  });

  it('never lets a changed page go before it is written', async () => {
    const { file, cache, state, held } = setUp(4);
    for (let page = 0; page < 12; page += 1) {
      await cache.load(page * PAGE);
      const at = cache.peek(page * PAGE)!;
      at.bytes[1] = 0x80 + page;
      cache.markDirty(at);
    }
    await cache.writeOut();
    expect(state.writeOuts).toBeGreaterThan(1);
    expect(held().length).toBeLessThanOrEqual(5);
    for (let page = 0; page < 12; page += 1) expect(file.image[page * PAGE + 1]).toBe(0x80 + page);
  });

  it('reads a page once for callers that come together', async () => {
    const { file, cache } = setUp(4);
    let reads = 0;
    file.delay = async () => {
      reads += 1;
    };
    await Promise.all([cache.load(0), cache.load(100), cache.load(511)]);
    expect(reads).toBe(1);
  });

  it('has a page dirty again when it could not be written, and keeps what changed meanwhile', async () => {
    const { cache } = setUp(4);
    await cache.load(0);
    const page = cache.peek(0)!;
    page.bytes[1] = 1;
    cache.markDirty(page);
    const copies = cache.takeDirty();
    page.bytes[1] = 2;
    expect([copies[0]!.bytes[1], cache.dirtyCount]).toEqual([1, 0]);
    cache.settle(copies, false);
    expect([cache.dirtyCount, cache.takeDirty()[0]!.bytes[1]]).toEqual([1, 2]);
  });

  it('forgets a table that was given up', async () => {
    const { file, cache } = setUp(8);
    for (let page = 0; page < 4; page += 1) await cache.load(page * PAGE);
    cache.markDirty(cache.peek(PAGE)!);
    cache.drop(PAGE, 2 * PAGE);
    expect(
      [cache.peek(0), cache.peek(PAGE), cache.peek(2 * PAGE), cache.peek(3 * PAGE)].map(Boolean),
    ).toEqual([true, false, false, true]);
    expect(cache.takeDirty()).toEqual([]);
    expect(file.writes).toBe(0);
  });
});
