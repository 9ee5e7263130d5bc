import { describe, expect, it } from 'vitest';
import { Bus, type BusDevice } from '../../../src/bus/bus.js';

/** Remembers accesses; a read gives the offset in every byte. */
function recorder(): BusDevice & { readonly log: string[] } {
  const log: string[] = [];
  return {
    log,
    read(offset, data) {
      log.push(`r${data.length}@${offset}`);
      data.fill(offset);
    },
    write: (offset, data) => void log.push(`w${[...data].join(',')}@${offset}`),
  };
}

function read(bus: Bus, address: number, width: number): number[] {
  const data = new Uint8Array(width);
  void bus.access(address, data, false);
  return [...data];
}

describe('a bus', () => {
  it('carries accesses to the device that owns the range, by offset', () => {
    const bus = new Bus('pio');
    const [low, high] = [recorder(), recorder()];
    bus.claim(0x3f8, 8, 'com1', low);
    bus.claim(0x70, 2, 'rtc', high);
    expect(read(bus, 0x3fd, 1)).toEqual([5]);
    expect(read(bus, 0x71, 1)).toEqual([1]);
    void bus.access(0x3f8, Uint8Array.of(1, 2), true);
    expect(low.log).toEqual(['r1@5', 'w1,2@0']);
    expect(high.log).toEqual(['r1@1']);
    expect(bus.owner(0x3ff)).toBe('com1');
    expect(bus.owner(0x400)).toBeUndefined();
  });

  it('reads all ones and drops writes where nobody is, and counts both', () => {
    const bus = new Bus('mmio');
    bus.claim(0x1000, 0x1000, 'one', recorder());
    expect(read(bus, 0xfff, 1)).toEqual([0xff]);
    expect(read(bus, 0x2000, 8)).toEqual(Array(8).fill(0xff));
    const data = Uint8Array.of(1);
    expect(bus.access(0x2000, data, true)).toBeUndefined();
    expect([...data]).toEqual([1]);
    expect([...bus.unclaimed]).toEqual([
      [0xfff, 1],
      [0x2000, 2],
    ]);
  });

  it('gives an access that is not wholly inside one claim to nobody', () => {
    const bus = new Bus('pio');
    const [first, second] = [recorder(), recorder()];
    bus.claim(0x10, 4, 'first', first);
    bus.claim(0x14, 4, 'second', second);
    expect(read(bus, 0x12, 4)).toEqual([0xff, 0xff, 0xff, 0xff]);
    expect(read(bus, 0x16, 4)).toEqual([0xff, 0xff, 0xff, 0xff]);
    // The same after the claim was found: the shortcut must check the length too.
    read(bus, 0x10, 1);
    expect(read(bus, 0x12, 4)).toEqual([0xff, 0xff, 0xff, 0xff]);
    expect(first.log).toEqual(['r1@0']);
    expect(second.log).toEqual([]);
  });

  it('finds the right one among many, whatever the order of claims', () => {
    const bus = new Bus('mmio');
    const devices = Array.from({ length: 40 }, recorder);
    for (const index of [...devices.keys()].sort((a, b) => ((a * 7) % 40) - ((b * 7) % 40))) {
      bus.claim(0xc000_0000 + index * 0x1000, 0x1000, `d${index}`, devices[index]!);
    }
    for (const index of devices.keys()) {
      expect(bus.owner(0xc000_0000 + index * 0x1000)).toBe(`d${index}`);
      expect(bus.owner(0xc000_0fff + index * 0x1000)).toBe(`d${index}`);
    }
  });

  it('works above 4 GiB', () => {
    const bus = new Bus('mmio');
    bus.claim(2 ** 40, 0x1000, 'far', recorder());
    expect(read(bus, 2 ** 40 + 8, 1)).toEqual([8]);
    expect(read(bus, 2 ** 40 + 2 ** 32, 1)).toEqual([0xff]);
  });

  it.each([
    ['the same range', 0x100, 0x10],
    ['a range that ends inside', 0xf8, 0x10],
    ['a range that starts inside', 0x10f, 1],
    ['a range inside', 0x104, 2],
    ['a range around it', 0, 0x1000],
  ])('refuses to give away %s twice', (_what, base, length) => {
    const bus = new Bus('pio');
    bus.claim(0x100, 0x10, 'owner', recorder());
    bus.claim(0x2000, 1, 'behind', recorder());
    expect(() => bus.claim(base, length, 'thief', recorder())).toThrow(/thief at 0x\w+ overlaps owner/);
    expect(bus.owner(0x104)).toBe('owner');
  });

  it('gives away neighbours of a range', () => {
    const bus = new Bus('pio');
    bus.claim(0x100, 0x10, 'owner', recorder());
    bus.claim(0x110, 1, 'above', recorder());
    bus.claim(0xff, 1, 'below', recorder());
    expect([0xff, 0x100, 0x10f, 0x110].map((at) => bus.owner(at))).toEqual([
      'below',
      'owner',
      'owner',
      'above',
    ]);
  });

  it('passes on a device’s promise', async () => {
    const bus = new Bus('pio');
    bus.claim(0, 1, 'slow', { read: async (_offset, data) => void data.fill(3), write() {} });
    const data = new Uint8Array(1);
    const pending = bus.access(0, data, false);
    expect(pending).toBeInstanceOf(Promise);
    await pending;
    expect(data[0]).toBe(3);
  });

  it('tells at most 256 unclaimed addresses apart, and goes on counting those it knows', () => {
    const bus = new Bus('mmio');
    for (let address = 0; address < 1000; address += 1) read(bus, address, 1);
    read(bus, 0, 1);
    expect(bus.unclaimed.size).toBe(256);
    expect(bus.unclaimed.get(0)).toBe(2);
    expect(bus.unclaimed.has(256)).toBe(false);
  });
});
