/** What hostile drivers write: descriptors, rings and registers that are nearly right, and some that are nothing like it. */
import type { GuestRam } from './guest-ram.js';
import type { Random } from './random.js';

/** Addresses worth trying: inside RAM, at its edges, far outside. */
export function someAddress(random: Random, ram: GuestRam): bigint {
  switch (random.below(24)) {
    case 0:
      return BigInt(ram.end - random.below(64));
    case 1:
      return BigInt(ram.base + random.below(64) - 32);
    case 2:
      return random.pick([0n, 1n << 52n, (1n << 52n) - 1n, (1n << 64n) - 1n, 1n << 32n, BigInt(ram.end)]);
    default:
      return BigInt(ram.base + random.below(ram.size));
  }
}

export function someLength(random: Random): number {
  if (random.below(8) > 0) return random.pick([0, 1, 15, 16, 17, 20, 32, 48, 512, 513, 1024, 4096, 4097]);
  return random.below(8) > 0 ? random.below(0x2000) : random.pick([0x7fff_ffff, 0x8000_0000, 0xffff_ffff]);
}

/** Numbers for registers and indices. */
export function someNumber(random: Random): number {
  if (random.below(3) > 0) return random.below(16);
  return random.below(2) > 0
    ? random.next()
    : random.pick([0xffff, 0x8000, 0x7fff, 0xffff_ffff, 0x8000_0000, 256]);
}

/** A table of `count` descriptors at `table`: chains as often as not, with every mistake now and then. */
export function scribbleDescriptors(random: Random, ram: GuestRam, table: number, count: number): void {
  for (let index = 0; index < count; index += 1) {
    const at = table + 16 * index;
    ram.setU64(at, someAddress(random, ram));
    ram.setU32(at + 8, someLength(random));
    const flags =
      random.below(20) === 0 ? random.below(0x1_0000) : random.pick([0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5]);
    ram.setU16(at + 12, flags);
    ram.setU16(at + 14, random.below(10) > 0 ? (index + 1) % count : random.below(count + 2));
  }
}
