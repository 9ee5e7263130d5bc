/**
 * One L2 entry: what a guest cluster is. Two 32-bit halves rather than a bigint, which costs ten times as much; offsets
 * are checked for alignment and reserved bits here, and against the file's end by the caller. QEMU docs/interop/qcow2.txt
 * "Cluster mapping".
 */
import { hex } from '../../base/units.js';
import { ImageError } from './image-error.js';

export type ClusterKind = 'unallocated' | 'zero' | 'data' | 'compressed';

/** Where the contents of a guest cluster are. */
export interface Mapping {
  readonly kind: ClusterKind;
  /** Host bytes: of the cluster, or where the compressed data starts. 0: a zero cluster without storage, or unallocated. */
  readonly offset: number;
  /** Compressed only: bytes from `offset` in which the compressed data ends. */
  readonly length: number;
  /** The reference count is one: it may be overwritten in place. */
  readonly copied: boolean;
}

export const UNALLOCATED: Mapping = { kind: 'unallocated', offset: 0, length: 0, copied: false };
export const ZERO: Mapping = { kind: 'zero', offset: 0, length: 0, copied: false };

const COPIED = 0x8000_0000; // bit 63
const COMPRESSED = 0x4000_0000; // bit 62
const RESERVED_HIGH = 0x3f00_0000; // bits 56–61
const OFFSET_HIGH = 0x00ff_ffff; // bits 32–55
const ZERO_FLAG = 1; // bit 0
const RESERVED_LOW = 0x1fe; // bits 1–8

/** @throws ImageError for an entry that no writer of the format produces */
export function decodeL2Entry(high: number, low: number, clusterBits: number, version: 2 | 3): Mapping {
  if (high === 0 && low === 0) return UNALLOCATED;
  if (high & COMPRESSED) return decodeCompressed(high, low, clusterBits);
  const offset = (high & OFFSET_HIGH) * 2 ** 32 + ((low & ~0x1ff) >>> 0);
  const copied = (high & COPIED) !== 0;
  const zero = (low & ZERO_FLAG) !== 0;
  if (high & RESERVED_HIGH || low & RESERVED_LOW || (zero && version === 2)) {
    throw new ImageError(`an L2 entry has reserved bits set: ${entryText(high, low)}`);
  }
  if (offset % 2 ** clusterBits !== 0) {
    throw new ImageError(`an L2 entry is not aligned to a cluster: ${entryText(high, low)}`);
  }
  if (offset === 0 && copied) throw new ImageError('an L2 entry points to the header');
  if (zero) return { kind: 'zero', offset, length: 0, copied };
  return { kind: 'data', offset, length: 0, copied };
}

/** "Compressed Clusters Descriptor": x = 62 − (cluster_bits − 8) bits of offset, then a count of further 512-byte sectors. */
function decodeCompressed(high: number, low: number, clusterBits: number): Mapping {
  if (high & COPIED) throw new ImageError('a compressed cluster is marked as copied');
  const offsetBits = 62 - (clusterBits - 8);
  const highBits = offsetBits - 32; // 17 … 29: the boundary is always in the upper half
  const offset = (high & (2 ** highBits - 1)) * 2 ** 32 + low;
  const sectors = (high & 0x3fff_ffff) >>> highBits;
  return { kind: 'compressed', offset, length: (sectors + 1) * 512 - (offset % 512), copied: false };
}

/** The two halves of an entry that this back end writes; all it writes are copied (or without storage). */
export function encodeL2Entry({ kind, offset, copied }: Mapping): readonly [high: number, low: number] {
  const high = (Math.floor(offset / 2 ** 32) | (copied ? COPIED : 0)) >>> 0;
  const low = (offset % 2 ** 32) + (kind === 'zero' ? ZERO_FLAG : 0);
  return [high, low];
}

const entryText = (high: number, low: number): string => hex(BigInt(high) * 2n ** 32n + BigInt(low));
