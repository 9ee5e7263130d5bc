/** RAM of real size: sparse mappings, of which only the touched pages exist. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { GuestFault, HostError } from '../../../src/base/errors.js';
import { GiB, gpa, MiB } from '../../../src/base/units.js';
import { ramRanges } from '../../../src/boot/layout.js';
import { VIEW_LENGTH, VIEW_STRIDE } from '../../../src/memory/guest-memory.js';
import { Ram } from '../../../src/memory/ram.js';

const SIZE = 16 * GiB; // [0, 3 GiB) and [4 GiB, 17 GiB)

/** Eight-byte places around every GiB inside RAM, at both ends of both regions, and some in between. */
function places(): number[] {
  const all: number[] = [0, 0x7000, 3 * GiB - 8, 4 * GiB, 17 * GiB - 8];
  for (let boundary = GiB; boundary < 17 * GiB; boundary += GiB) {
    if (boundary === 3 * GiB || boundary === 4 * GiB) continue;
    all.push(boundary - 9, boundary + 0x1001, boundary + GiB / 2);
  }
  return all;
}

describe('RAM of 16 GiB', () => {
  const before = process.memoryUsage.rss();
  // One for all tests: V8 collects garbage for every gigabyte it hears of.
  const ram = new Ram(ramRanges(SIZE));
  const { memory } = ram;
  afterAll(() => ram[Symbol.dispose]());

  it('holds what is written anywhere, in little memory of the host', () => {
    expect(memory.size).toBe(SIZE);
    for (const at of places()) memory.writeU64(gpa(at), BigInt(at) + 1n);
    for (const at of places()) expect(memory.readU64(gpa(at))).toBe(BigInt(at) + 1n);
    // With huge pages for everything each place costs 2 MiB.
    expect(process.memoryUsage.rss() - before).toBeLessThan(256 * MiB);
  });

  it('reads and writes fields that lie across a GiB boundary', () => {
    for (const boundary of [GiB, 2 * GiB, 5 * GiB, 6 * GiB, 16 * GiB]) {
      const text = Uint8Array.from({ length: 16 }, (_, index) => (boundary / GiB) * 16 + index);
      memory.write(gpa(boundary - 8), text);
      expect([...memory.slice(gpa(boundary - 8), 16)]).toEqual([...text]);
      expect(memory.readU8(gpa(boundary))).toBe(text[8]);
      expect(memory.readU32(gpa(boundary - 2))).toBe(new DataView(text.buffer).getUint32(6, true));
      memory.storeU16(gpa(boundary), 0xbeef);
      expect(memory.loadU16(gpa(boundary))).toBe(0xbeef);
      expect(memory.readU16(gpa(boundary))).toBe(0xbeef);
    }
  });

  it('gives up to a GiB in one piece from any place, and no more', () => {
    memory.writeU8(gpa(2 * GiB - 2), 1);
    for (const at of [0, 1, GiB - 1, 2 * GiB - 1, 2 * GiB, 4 * GiB, 16 * GiB - 1, 16 * GiB]) {
      expect(memory.slice(gpa(at), VIEW_STRIDE).length).toBe(VIEW_STRIDE);
    }
    expect(memory.slice(gpa(GiB - 1), VIEW_STRIDE).at(-1)).toBe(1);
    expect(() => memory.slice(gpa(0), VIEW_STRIDE + 1)).toThrow(/in one piece/);
  });

  it('gives longer ranges in pieces, in order', () => {
    const start = 4 * GiB + 0x123;
    const length = 2 * GiB + 0x456;
    memory.writeU8(gpa(start + GiB), 0x11);
    memory.writeU8(gpa(start + length - 1), 0x22);
    const pieces = [...memory.slices(gpa(start), length)];
    expect(pieces.map((piece) => piece.length)).toEqual([GiB, GiB, 0x456]);
    expect([pieces[1]![0], pieces[2]!.at(-1)]).toEqual([0x11, 0x22]);
  });

  it('refuses the gap and what lies behind the end', () => {
    for (const at of [3 * GiB - 7, 3 * GiB, 4 * GiB - 1, 17 * GiB - 7, 17 * GiB]) {
      expect(() => memory.readU64(gpa(at)), String(at)).toThrow(GuestFault);
    }
    expect(() => [...memory.slices(gpa(2 * GiB), 3 * GiB)]).toThrow(GuestFault);
  });

  it('shows each GiB through views that reach one GiB further, so that no range falls between two', () => {
    const [low, high] = memory.regions;
    expect(low!.views.map((view) => view.length)).toEqual([VIEW_LENGTH, VIEW_LENGTH, GiB]);
    expect(high!.views.map((view) => view.length)).toEqual([...Array(12).fill(VIEW_LENGTH), GiB]);
  });

  it('tells KVM where each range lies', () => {
    const slots = [...ram.slots()];
    expect(slots.map(({ base, size }) => [base, size])).toEqual([
      [0, 3 * GiB],
      [4 * GiB, 13 * GiB],
    ]);
    for (const { host } of slots) expect(host % 4096n).toBe(0n);
  });
});

describe('RAM after disposal', () => {
  it('has no bytes left to touch', () => {
    const ram = new Ram(ramRanges(2 * MiB));
    const slice = ram.memory.slice(gpa(0), 16);
    ram[Symbol.dispose]();
    expect(slice.length).toBe(0);
    expect(() => ram.memory.readU8(gpa(0))).toThrow(TypeError);
    ram[Symbol.dispose]();
  });
});

describe('reading a file into RAM', () => {
  function withFile(content: Uint8Array, use: (fd: number) => void): void {
    const folder = mkdtempSync(join(tmpdir(), 'typevisor-ram-'));
    const path = join(folder, 'file');
    writeFileSync(path, content);
    const fd = openSync(path, 'r');
    try {
      use(fd);
    } finally {
      closeSync(fd);
      rmSync(folder, { recursive: true });
    }
  }
  const content = Uint8Array.from({ length: 0x3000 }, (_, index) => index % 251);

  it('puts the bytes there, across a GiB boundary and above the gap too', () => {
    using ram = new Ram(ramRanges(3 * GiB + MiB));
    withFile(content, (fd) => {
      for (const at of [0x1000, GiB - 0x1001, 4 * GiB, 4 * GiB + 0x2fff]) {
        ram.readFrom(fd, 0x10, gpa(at), 0x2000);
        expect(Buffer.compare(ram.memory.slice(gpa(at), 0x2000), content.subarray(0x10, 0x2010))).toBe(0);
      }
    });
  });

  it('says so when the file is shorter than it was', () => {
    using ram = new Ram(ramRanges(2 * MiB));
    withFile(content, (fd) => {
      expect(() => ram.readFrom(fd, 0x2000, gpa(0), 0x1800)).toThrow('file ended 2048 bytes early');
    });
  });

  it('writes nothing outside RAM', () => {
    using ram = new Ram(ramRanges(3 * GiB + 2 * MiB));
    withFile(content, (fd) => {
      expect(() => ram.readFrom(fd, 0, gpa(3.5 * GiB), 0x10)).toThrow(GuestFault);
      expect(() => ram.readFrom(fd, 0, gpa(3 * GiB - 0x10), 0x20)).toThrow(/not RAM of one range/);
      expect(ram.memory.readU64(gpa(3 * GiB - 8))).toBe(0n);
    });
  });
});

/** The kernel's flags of the mapping at `address`: `hg` is madvise(MADV_HUGEPAGE), `ht` reserved huge pages. */
function mappingFlags(address: bigint): string[] {
  const smaps = readFileSync('/proc/self/smaps', 'utf8');
  const start = address.toString(16);
  const entry = smaps.slice(smaps.search(new RegExp(`^0*${start}-`, 'm')));
  return /^VmFlags: (.*)$/m.exec(entry)![1]!.trim().split(' ');
}
const memoryInfo = (name: string): number =>
  Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0);

describe('the backing of RAM', () => {
  it('is by default what the system gives', () => {
    using ram = new Ram(ramRanges(8 * MiB));
    expect(mappingFlags([...ram.slots()][0]!.host)).not.toContain('hg');
  });

  it('is transparent huge pages when asked', () => {
    using ram = new Ram(ramRanges(8 * MiB), 'transparent');
    const flags = mappingFlags([...ram.slots()][0]!.host);
    expect(flags).toContain('hg');
    expect(flags).not.toContain('ht');
    ram.memory.writeU8(gpa(0), 1);
  });

  it('starts where a huge page can when it is transparent huge pages, whatever lies before it', () => {
    const before = Number([...readFileSync('/proc/self/statm', 'utf8').split(' ')][0]);
    for (let index = 0; index < 4; index += 1) {
      // Of odd sizes, so that the next mapping would start in the middle of a huge page.
      using odd = new Ram([{ base: gpa(0), size: 3 * MiB + 4096 * index }], 'transparent');
      using ram = new Ram(ramRanges(8 * MiB), 'transparent');
      for (const { host } of [...odd.slots(), ...ram.slots()]) expect(Number(host) % (2 * MiB)).toBe(0);
      ram.memory.writeU8(gpa(8 * MiB - 1), 1);
    }
    const after = Number([...readFileSync('/proc/self/statm', 'utf8').split(' ')][0]);
    // The ends were given back, and the rest with the VMs: pages of address space.
    expect(after - before).toBeLessThan((8 * MiB) / 4096);
  });

  it('is reserved 2 MiB pages when asked: without enough of them an error says how to reserve them', () => {
    const overcommit = Number(readFileSync('/proc/sys/vm/nr_overcommit_hugepages', 'utf8'));
    const tooMany = memoryInfo('HugePages_Total') + overcommit + 1;
    let error: unknown;
    try {
      new Ram([{ base: gpa(0), size: tooMany * 2 * MiB }], '2M')[Symbol.dispose]();
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(HostError);
    expect(error).toMatchObject({
      code: 'ERR_VMM_HOST',
      errnoName: 'ENOMEM',
      hint: expect.stringContaining('/proc/sys/vm/nr_hugepages'),
    });
  });

  it('that the host cannot give is an error with a hint, and leaves no mapping behind', () => {
    const mapped = (): number => readFileSync('/proc/self/maps', 'utf8').split('\n').length;
    const before = mapped();
    const impossible = () => new Ram([...ramRanges(2 * MiB), { base: gpa(4 * GiB), size: 2 ** 48 }]);
    expect(impossible).toThrow(expect.objectContaining({ errnoName: 'ENOMEM', hint: 'ask for less memory' }));
    expect(mapped()).toBeLessThanOrEqual(before + 2); // V8 may map a little meanwhile
  });
});
