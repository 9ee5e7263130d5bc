/**
 * Guest memory at any address, also at ones that are no addresses: a GuestFault, or the bytes that a plain copy of the RAM has there.
 * Bytes around the RAM are never touched.
 */
import { it } from 'vitest';
import { GuestFault } from '../../src/base/errors.js';
import { GiB, gpa } from '../../src/base/units.js';
import { GuestMemory } from '../../src/memory/guest-memory.js';
import { FUZZ_LIMIT, fuzz } from '../support/fuzz.js';
import type { Random } from '../support/random.js';

const GUARD = 64;
const REGIONS = [
  { base: 0, size: 0x3000 },
  { base: 0x8000, size: 0x10 },
  { base: 4 * GiB, size: 0x2001 },
] as const;
const ODD = [
  Number.NaN,
  -1,
  -0,
  -(2 ** 40),
  2 ** 52,
  2 ** 53,
  2 ** 53 + 2,
  2 ** 64,
  1e300,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  0.5,
];

/** RAM between guards, and what should be in it. */
function setUp() {
  const parts = REGIONS.map(({ base, size }) => {
    const whole = new Uint8Array(size + 2 * GUARD).fill(0xa5);
    const bytes = whole.subarray(GUARD, GUARD + size);
    bytes.fill(0);
    return { base, size, whole, bytes, model: new Uint8Array(size) };
  });
  const memory = new GuestMemory(
    parts.map(({ base, size, bytes }) => ({ base: gpa(base), size, views: [bytes] })),
  );
  return { parts, memory };
}

function someAddress(random: Random): number {
  const { base, size } = random.pick(REGIONS);
  switch (random.below(6)) {
    case 0:
      return random.pick(ODD);
    case 1:
      return base + size - random.below(10);
    case 2:
      return base + random.below(10) - 5;
    case 3:
      return random.next() * random.pick([1, 2, 2 ** 20]);
    default:
      return base + random.below(size);
  }
}

type Operation = 'u8' | 'u16' | 'u32' | 'u64' | 'gpa' | 'index' | 'bytes';
const WIDTHS: Readonly<Record<Operation, number>> = {
  u8: 1,
  u16: 2,
  u32: 4,
  u64: 8,
  gpa: 8,
  index: 2,
  bytes: -1,
};

function read(memory: GuestMemory, operation: Operation, at: number, length: number): Uint8Array {
  const address = gpa(at);
  const out = new DataView(new ArrayBuffer(length));
  if (operation === 'u8') out.setUint8(0, memory.readU8(address));
  else if (operation === 'u16') out.setUint16(0, memory.readU16(address), true);
  else if (operation === 'index') out.setUint16(0, memory.loadU16(address), true);
  else if (operation === 'u32') out.setUint32(0, memory.readU32(address), true);
  else if (operation === 'u64') out.setBigUint64(0, memory.readU64(address), true);
  else if (operation === 'gpa') out.setBigUint64(0, BigInt(memory.readGpa(address)), true);
  else return memory.slice(address, length).slice();
  return new Uint8Array(out.buffer);
}

function write(memory: GuestMemory, operation: Operation, at: number, bytes: Uint8Array): void {
  const address = gpa(at);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (operation === 'u8') memory.writeU8(address, bytes[0]!);
  else if (operation === 'u16') memory.writeU16(address, view.getUint16(0, true));
  else if (operation === 'index') memory.storeU16(address, view.getUint16(0, true));
  else if (operation === 'u32') memory.writeU32(address, view.getUint32(0, true));
  else if (operation === 'u64' || operation === 'gpa') memory.writeU64(address, view.getBigUint64(0, true));
  else memory.write(address, bytes);
}

it('guest memory', { timeout: FUZZ_LIMIT }, async () => {
  const { parts, memory } = setUp();
  let inside = 0;
  await fuzz({ rounds: 6000, seed: 0x3e3, cumulative: true }, (random, round) => {
    const operation = random.pick(Object.keys(WIDTHS) as Operation[]);
    const length = operation === 'bytes' ? random.below(0x40) : WIDTHS[operation];
    const at = someAddress(random);
    const part = parts.find(({ base, size }) => at >= base && at + length <= base + size);
    const isIndex = operation === 'index';
    // Whole numbers are the callers' to give; what is between two must only stay inside.
    const allowed = part !== undefined && !(isIndex && at % 2 !== 0);
    const where = `${operation} of ${length} at ${at}`;
    try {
      if (random.chance(0.5)) {
        const bytes = random.bytes(length);
        write(memory, operation, at, bytes);
        if (!allowed) throw new Error(`written outside: ${where}`);
        part.model.set(bytes, Math.floor(at - part.base));
      } else {
        const bytes = read(memory, operation, at, length);
        if (!allowed) throw new Error(`read outside: ${where}`);
        const start = Math.floor(at - part.base);
        if (Buffer.compare(bytes, part.model.subarray(start, start + length)) !== 0)
          throw new Error(`wrong: ${where}`);
      }
      inside += 1;
    } catch (error) {
      if (!(error instanceof GuestFault)) throw error;
      // An address field may hold too much; everything else inside must work.
      if (allowed && operation !== 'gpa') throw new Error(`refused: ${where}`);
    }
    if (memory.contains(gpa(at), length) !== (part !== undefined)) throw new Error(`contains ${where}`);
    if (round % 100 === 0) check();
  });
  check();
  if (inside === 0) throw new Error('nothing was inside');

  function check(): void {
    for (const { whole, bytes, model, base } of parts) {
      if (Buffer.compare(bytes, model) !== 0) throw new Error(`RAM at ${base} differs`);
      const guards = [...whole.subarray(0, GUARD), ...whole.subarray(GUARD + bytes.length)];
      if (guards.some((byte) => byte !== 0xa5)) throw new Error(`bytes around RAM at ${base} were touched`);
    }
  }
});
