/** How a queue takes chains apart, and which it refuses. */
import { describe, expect, it } from 'vitest';
import { GuestFault } from '../../../src/base/errors.js';
import { type BareOptions, bareQueue } from '../../support/bare-queue.js';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe('a chain', () => {
  it('is the pieces that the driver posted, in order, readable and writable apart', () => {
    const { driver, queue } = bareQueue();
    const posted = driver.add([bytes(1, 2), bytes(3), 4, 5]);
    const chain = queue.pop()!;
    expect(chain.head).toBe(posted.head);
    expect(chain.readable.map((piece) => [...piece])).toEqual([[1, 2], [3]]);
    expect(chain.writable.map(({ length }) => length)).toEqual([4, 5]);
  });

  it('is guest memory itself: what is written to it is there', () => {
    const { driver, queue } = bareQueue();
    const posted = driver.add([3, 2]);
    const { writable } = queue.pop()!;
    writable[0]!.set([7, 8, 9]);
    writable[1]!.set([1, 2]);
    expect([...posted.written()]).toEqual([7, 8, 9, 1, 2]);
  });

  it.each([
    { how: 'in one indirect table', indirect: true },
    { how: 'with one direct descriptor before the table', indirect: 3 },
    { how: 'with all but the last one direct', indirect: 1 },
  ])('is the same $how', ({ indirect }) => {
    const { driver, queue } = bareQueue();
    const posted = driver.add([bytes(1), bytes(2, 3), 4, 5], { indirect });
    const chain = queue.pop()!;
    expect(chain.head).toBe(posted.head);
    expect(chain.readable.map((piece) => [...piece])).toEqual([[1], [2, 3]]);
    expect(chain.writable.map(({ length }) => length)).toEqual([4, 5]);
  });

  it('may use every descriptor of the queue', () => {
    const { driver, queue } = bareQueue({ size: 8 });
    driver.add(Array.from({ length: 8 }, (_, index) => bytes(index)));
    expect(queue.pop()!.readable.map(([byte]) => byte)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('may have as many indirect descriptors as the queue has entries', () => {
    const { driver, queue } = bareQueue({ size: 8 });
    driver.add(
      Array.from({ length: 8 }, (_, index) => bytes(index)),
      { indirect: true },
    );
    expect(queue.pop()!.readable).toHaveLength(8);
  });

  it('of an indirect descriptor marked writable is what its table says (§2.7.5.3.2)', () => {
    const { driver, ram, queue } = bareQueue();
    const table = ram.alloc(16);
    ram.setU64(table, BigInt(ram.put(bytes(42))));
    ram.setU32(table + 8, 1);
    driver.descriptor(0, { at: table, length: 16, flags: INDIRECT | WRITE });
    driver.offer(0);
    const { readable, writable } = queue.pop()!;
    expect([readable.map((piece) => [...piece]), writable]).toEqual([[[42]], []]);
  });

  it('may have pieces without bytes', () => {
    const { driver, queue } = bareQueue();
    driver.add([bytes(), 0]);
    const { readable, writable } = queue.pop()!;
    expect([readable.map(({ length }) => length), writable.map(({ length }) => length)]).toEqual([[0], [0]]);
  });

  it('reaches to the last byte of memory', () => {
    const { driver, ram, queue } = bareQueue();
    driver.add([{ at: ram.end - 1, length: 1, write: true }]);
    queue.pop()!.writable[0]![0] = 0x77;
    expect(ram.bytes.at(-1)).toBe(0x77);
    expect(ram.intact).toBe(true);
  });

  it('has flags of the future ignored', () => {
    const { driver, queue } = bareQueue();
    driver.add([{ at: driver.desc, length: 1, flags: 0xfff8 }]);
    expect(queue.pop()!.readable).toHaveLength(1);
  });
});

interface Refused extends BareOptions {
  readonly what: string;
  readonly clause: string;
  /** Descriptors from 0 on; `at` counts from the start of RAM. */
  readonly chain: readonly { at?: number; length: number; flags?: number; next?: number }[];
  /** Descriptors of an indirect table at offset 0x8000. */
  readonly table?: readonly { at?: number; length: number; flags?: number; next?: number }[];
  readonly head?: number;
}

const TABLE = 0x8000;
const long = { at: 0, length: 0x10_0000 };
const REFUSED: readonly Refused[] = [
  { what: 'a head past the table', head: 8, chain: [], clause: '§2.7.5' },
  { what: 'a head far past the table', head: 0xffff, chain: [], clause: '§2.7.5' },
  { what: 'a next past the table', chain: [{ length: 1, flags: NEXT, next: 8 }], clause: '§2.7.5' },
  { what: 'a chain that is its own next', chain: [{ length: 1, flags: NEXT, next: 0 }], clause: '§2.7.5.2' },
  {
    what: 'a loop of two',
    chain: [
      { length: 1, flags: NEXT, next: 1 },
      { length: 1, flags: NEXT, next: 0 },
    ],
    clause: '§2.7.5.2',
  },
  {
    what: 'a loop of pieces without bytes',
    chain: [{ length: 0, flags: NEXT, next: 0 }],
    clause: '§2.7.5.2',
  },
  {
    what: 'a loop of indirect descriptors in one table',
    chain: [{ at: TABLE, length: 32, flags: INDIRECT }],
    table: [
      { length: 1, flags: NEXT, next: 1 },
      { length: 1, flags: NEXT, next: 0 },
    ],
    clause: '§2.7.5.2',
  },
  { what: 'a buffer that starts before memory', chain: [{ at: -1, length: 2 }], clause: 'memory map' },
  { what: 'a buffer that ends after memory', chain: [{ at: 0xf_ffff, length: 2 }], clause: 'memory map' },
  { what: 'a buffer behind memory', chain: [{ at: 0x10_0001, length: 1 }], clause: 'memory map' },
  { what: 'a buffer of 4 GiB less a byte', chain: [{ length: 0xffff_ffff }], clause: 'memory map' },
  {
    what: 'a buffer above 52 bits',
    chain: [{ at: 2 ** 52, length: 1 }],
    clause: 'SDM',
  },
  {
    what: 'a readable piece behind a writable one',
    chain: [{ length: 1, flags: WRITE | NEXT, next: 1 }, { length: 1 }],
    clause: '§2.7.4.2',
  },
  {
    what: 'a readable piece behind a writable one, in a table',
    chain: [{ at: TABLE, length: 32, flags: INDIRECT }],
    table: [{ length: 1, flags: WRITE | NEXT, next: 1 }, { length: 1 }],
    clause: '§2.7.4.2',
  },
  {
    what: 'more than 2^32 bytes',
    size: 8192,
    chain: Array.from({ length: 4098 }, (_, index) => ({ ...long, flags: NEXT, next: index + 1 })),
    clause: '§2.7.5.2',
  },
  {
    what: 'an indirect table without the feature',
    indirect: false,
    chain: [{ at: TABLE, length: 16, flags: INDIRECT }],
    table: [{ length: 1 }],
    clause: '§2.7.5.3.1',
  },
  { what: 'an indirect table of no bytes', chain: [{ length: 0, flags: INDIRECT }], clause: '§2.7.5.3.1' },
  { what: 'an indirect table of 17 bytes', chain: [{ length: 17, flags: INDIRECT }], clause: '§2.7.5.3.1' },
  {
    what: 'an indirect table longer than the queue',
    chain: [{ at: TABLE, length: 16 * 9, flags: INDIRECT }],
    clause: '§2.7.5.3.1',
  },
  {
    what: 'an indirect table outside memory',
    chain: [{ at: 0xf_fff1, length: 16, flags: INDIRECT }],
    clause: 'memory map',
  },
  {
    what: 'an indirect descriptor with a next',
    chain: [{ at: TABLE, length: 16, flags: INDIRECT | NEXT, next: 1 }, { length: 1 }],
    table: [{ length: 1 }],
    clause: '§2.7.5.3.1',
  },
  {
    what: 'a table in a table',
    chain: [{ at: TABLE, length: 16, flags: INDIRECT }],
    table: [{ at: TABLE, length: 16, flags: INDIRECT }],
    clause: '§2.7.5.3.1',
  },
  {
    what: 'a next past an indirect table',
    chain: [{ at: TABLE, length: 32, flags: INDIRECT }],
    table: [{ length: 1, flags: NEXT, next: 2 }, { length: 1 }],
    clause: '§2.7.5',
  },
  {
    what: 'a chain longer than the queue through its table',
    chain: [
      { length: 1, flags: NEXT, next: 1 },
      { at: TABLE, length: 16 * 8, flags: INDIRECT },
    ],
    table: Array.from({ length: 8 }, (_, index) => ({
      length: 1,
      flags: index < 7 ? NEXT : 0,
      next: index + 1,
    })),
    clause: '§2.7.5.2',
  },
];

describe('a queue refuses', () => {
  it.each(REFUSED)('$what ($clause)', ({ chain, table = [], head = 0, clause, ...options }) => {
    const { driver, ram, queue } = bareQueue(options);
    const place = (at: number): number | bigint => (at === 2 ** 52 ? 2n ** 52n : ram.base + at);
    for (const [index, raw] of chain.entries()) driver.descriptor(index, { ...raw, at: place(raw.at ?? 0) });
    for (const [index, { at = 0, length, flags = 0, next = 0 }] of table.entries()) {
      const entry = ram.base + TABLE + 16 * index;
      ram.setU64(entry, BigInt(ram.base + at));
      ram.setU32(entry + 8, length);
      ram.setU16(entry + 12, flags);
      ram.setU16(entry + 14, next);
    }
    driver.offer(head);
    let fault: unknown;
    try {
      queue.pop();
    } catch (error) {
      fault = error;
    }
    expect(fault).toBeInstanceOf(GuestFault);
    expect((fault as GuestFault).clause.replace('virtio 1.2 ', '')).toMatch(
      new RegExp(`^${clause.replaceAll('.', '\\.')}`),
    );
    if (clause.startsWith('§')) expect((fault as GuestFault).clause).toBe(`virtio 1.2 ${clause}`);
  });

  it('a chain that it popped but could not walk: it is not in flight', () => {
    const { driver, queue } = bareQueue({ size: 2 });
    driver.offer(9);
    for (let attempt = 0; attempt < 5; attempt += 1) expect(() => queue.pop()).toThrow('descriptor 9 of 2');
  });
});

describe('the place of a queue', () => {
  const at = (change: Partial<Record<'size' | 'desc' | 'avail' | 'used', number>>): (() => unknown) => {
    const { queue, ram } = bareQueue({ size: 8 });
    const Queue = queue.constructor as new (...args: unknown[]) => unknown;
    return () => new Queue({ ...queue.layout, ...change }, ram.memory, { indirect: true, eventIdx: true });
  };
  it.each([
    { what: 'no entries', change: { size: 0 }, says: '§2.7' },
    { what: 'three entries', change: { size: 3 }, says: '§2.7' },
    { what: '65536 entries', change: { size: 65536 }, says: '§2.7' },
    { what: 'half an entry', change: { size: 0.5 }, says: '§2.7' },
    { what: 'a descriptor table at a multiple of 8', change: { desc: 0x4000_0008 }, says: 'misaligned' },
    { what: 'an available ring at an odd address', change: { avail: 0x4000_0001 }, says: 'misaligned' },
    { what: 'a used ring at a multiple of 2', change: { used: 0x4000_0002 }, says: 'misaligned' },
    { what: 'a descriptor table before memory', change: { desc: 0x4000_0000 - 16 }, says: 'memory map' },
    { what: 'a descriptor table that ends behind memory', change: { desc: 0x400f_fff0 }, says: 'memory map' },
    {
      what: 'an available ring whose used_event lies behind memory',
      change: { avail: 0x4010_0000 - 20 },
      says: 'memory map',
    },
    {
      what: 'a used ring whose avail_event lies behind memory',
      change: { used: 0x4010_0000 - 68 },
      says: 'memory map',
    },
  ])('is refused with $what', ({ change, says }) => {
    expect(at(change)).toThrow(says);
    expect(at(change)).toThrow(GuestFault);
  });
  it.each([
    { what: 'one entry', change: { size: 1 } },
    {
      what: 'the most entries there can be',
      change: { size: 32768, desc: 0x4000_0000, avail: 0x4008_0000, used: 0x400a_0000 },
    },
    { what: 'an available ring up to the end of memory', change: { avail: 0x4010_0000 - 22 } },
    { what: 'a used ring up to the end of memory', change: { used: 0x4010_0000 - 72 } },
  ])('may be $what', ({ change }) => {
    expect(at(change)).not.toThrow();
  });
});
