/**
 * The header of a qcow2 image: parsed and checked as a whole before anything else of the file is believed. Every refusal
 * names what it refuses. QEMU docs/interop/qcow2.txt "Header", "Header extensions", "Feature name table"; where that text
 * sets no limit, the limits are QEMU's own (block/qcow2.h), so that images QEMU opens are images that open here.
 *
 * A reader must not weaken the alignment and overlap checks: code that writes relies on them.
 */
import { hex, KiB, MiB } from '../../base/units.js';
import { ImageError } from './image-error.js';

/** `QFI\xfb`. */
export const MAGIC = 0x5146_49fb;
/** Bytes that say how large the first cluster is; the shortest file that can be an image. */
export const HEADER_SIZE_V2 = 72;
const HEADER_SIZE_V3 = 104;

/** Byte offsets of header fields that are rewritten in place. */
export const FIELD = {
  SIZE: 24,
  L1_SIZE: 36,
  L1_OFFSET: 40,
  REFCOUNT_TABLE_OFFSET: 48,
  AUTOCLEAR: 88,
} as const;

const MAX_L1_BYTES = 32 * MiB;
const MAX_REFCOUNT_TABLE_BYTES = 8 * MiB;
const MAX_SNAPSHOTS = 65_536;
const MAX_BACKING_NAME = 1023;

/** Incompatible feature bits and their names, for messages. */
const INCOMPATIBLE = ['dirty', 'corrupt', 'external data file', 'compression type', 'extended L2 entries'];
const DIRTY = 1n << 0n;
const CORRUPT = 1n << 1n;
const COMPRESSION_TYPE = 1n << 3n;
/** Bits a reader can honour; anything else in the field refuses the image. */
const SUPPORTED = DIRTY | CORRUPT | COMPRESSION_TYPE;

const EXTENSION = { END: 0, BACKING_FORMAT: 0xe279_2aca, FEATURE_NAMES: 0x6803_f857 } as const;
/** Extensions that occur in practice are five; the bound keeps a hostile header from being a long list of empty ones. */
const MAX_EXTENSIONS = 256;

export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly clusterSize: number;
  /** Virtual disk size, bytes, as stored. */
  readonly size: number;
  /** Entries of the active L1 table. */
  readonly l1Size: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  /** Width of a reference count: 2^order bits. */
  readonly refcountOrder: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: number;
  /** Reference counts may be wrong: nothing may be allocated. */
  readonly dirty: boolean;
  /** Any structure may be wrong: nothing may be written. */
  readonly corrupt: boolean;
  /** All of these are unknown here and are cleared before the first write. */
  readonly autoclear: bigint;
  readonly compression: 'deflate' | 'zstd';
  readonly backing: { readonly name: string; readonly format: string | undefined } | undefined;
}

/** @returns the cluster size of an image, from its first 24 bytes. @throws ImageError */
export function clusterSizeOf(start: Uint8Array): number {
  const view = viewOf(start);
  if (start.length < HEADER_SIZE_V2 || view.getUint32(0) !== MAGIC) throw new ImageError('not a qcow2 image');
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) throw new ImageError(`qcow2 version ${version} is unknown`);
  const bits = view.getUint32(20);
  if (bits < 9 || bits > 21) throw new ImageError(`a cluster size of 2^${bits} bytes is not supported`);
  return 2 ** bits;
}

/**
 * @param first the first cluster of the file, or all of a file that is shorter
 * @param fileSize bytes of the whole file
 * @throws ImageError
 */
export function parseHeader(first: Uint8Array, fileSize: number): Qcow2Header {
  const clusterSize = clusterSizeOf(first);
  const view = viewOf(first);
  const version = view.getUint32(4) as 2 | 3;
  const length = version === 2 ? HEADER_SIZE_V2 : headerLength(view, clusterSize);
  const v3 = version === 3;
  const extensions = parseExtensions(first, length, clusterSize);
  const incompatible = v3 ? view.getBigUint64(72) : 0n;
  refuseFeatures(incompatible, extensions.featureNames);

  const crypt = view.getUint32(32);
  if (crypt !== 0) {
    throw new ImageError(
      `encrypted images are not supported (${['', 'AES', 'LUKS'][crypt] ?? `method ${crypt}`})`,
    );
  }
  const refcountOrder = v3 ? view.getUint32(96) : 4;
  if (refcountOrder > 6) throw new ImageError(`reference counts of 2^${refcountOrder} bits are not defined`);

  const header: Qcow2Header = {
    version,
    clusterBits: view.getUint32(20),
    clusterSize,
    size: u64(view, 24, 'the virtual disk size'),
    l1Size: view.getUint32(36),
    l1Offset: u64(view, 40, 'the L1 table offset'),
    refcountTableOffset: u64(view, 48, 'the refcount table offset'),
    refcountTableClusters: view.getUint32(56),
    refcountOrder,
    snapshotCount: view.getUint32(60),
    snapshotsOffset: u64(view, 64, 'the snapshot table offset'),
    dirty: (incompatible & DIRTY) !== 0n,
    corrupt: (incompatible & CORRUPT) !== 0n,
    autoclear: v3 ? view.getBigUint64(88) : 0n,
    compression: compressionOf(first, length, incompatible),
    backing: backingOf(first, view, clusterSize, extensions.backingFormat),
  };
  checkTables(header, fileSize);
  return header;
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function u64(view: DataView, at: number, what: string): number {
  const value = view.getBigUint64(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ImageError(`${what} is out of range: ${hex(value)}`);
  return Number(value);
}

function headerLength(view: DataView, clusterSize: number): number {
  if (view.byteLength < HEADER_SIZE_V3) throw new ImageError('the header is cut off');
  const length = view.getUint32(100);
  if (length < HEADER_SIZE_V3 || length % 8 !== 0 || length > Math.min(clusterSize, view.byteLength)) {
    throw new ImageError(`the header gives its own length as ${length}`);
  }
  return length;
}

interface Extensions {
  readonly backingFormat: string | undefined;
  /** `type:bit` → name. */
  readonly featureNames: ReadonlyMap<string, string>;
}

function parseExtensions(first: Uint8Array, start: number, clusterSize: number): Extensions {
  const view = viewOf(first);
  const backingOffset = view.getBigUint64(8);
  const area =
    backingOffset > 0n && backingOffset < BigInt(clusterSize) ? Number(backingOffset) : clusterSize;
  const end = Math.min(area, first.length);
  const featureNames = new Map<string, string>();
  let backingFormat: string | undefined;
  for (let at = start, count = 0; at + 8 <= end; count += 1) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (type === EXTENSION.END) break;
    if (length > end - at - 8 || count === MAX_EXTENSIONS) {
      throw new ImageError(`header extension ${hex(type)} at ${hex(at)} is too long`);
    }
    const data = first.subarray(at + 8, at + 8 + length);
    if (type === EXTENSION.BACKING_FORMAT) backingFormat = text(data);
    else if (type === EXTENSION.FEATURE_NAMES) {
      for (let entry = 0; entry + 48 <= length; entry += 48) {
        featureNames.set(`${data[entry]}:${data[entry + 1]}`, text(data.subarray(entry + 2, entry + 48)));
      }
    }
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return { backingFormat, featureNames };
}

/** A string from the image, fit for a message: up to its first NUL, printable. */
function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  const whole = new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  return whole.replace(/\p{Cc}/gu, '?');
}

function refuseFeatures(incompatible: bigint, names: ReadonlyMap<string, string>): void {
  const refused = incompatible & ~SUPPORTED;
  if (refused === 0n) return;
  const list = Array.from({ length: 64 }, (_, bit) => bit)
    .filter((bit) => (refused >> BigInt(bit)) & 1n)
    .map((bit) => INCOMPATIBLE[bit] ?? names.get(`0:${bit}`) ?? `incompatible feature bit ${bit}`);
  throw new ImageError(`the image uses features that are not supported: ${list.join(', ')}`, {
    hint: 'qemu-img convert -O qcow2 OLD NEW writes an image without them',
  });
}

function compressionOf(first: Uint8Array, length: number, incompatible: bigint): 'deflate' | 'zstd' {
  const type = length > HEADER_SIZE_V3 ? first[HEADER_SIZE_V3]! : 0;
  const flagged = (incompatible & COMPRESSION_TYPE) !== 0n;
  if (flagged !== (type !== 0)) throw new ImageError('the compression type contradicts its feature bit');
  if (type > 1) throw new ImageError(`compression type ${type} is unknown`);
  return type === 0 ? 'deflate' : 'zstd';
}

function backingOf(
  first: Uint8Array,
  view: DataView,
  clusterSize: number,
  format: string | undefined,
): Qcow2Header['backing'] {
  const offset = u64(view, 8, 'the offset of the backing file name');
  if (offset === 0) return undefined;
  const length = view.getUint32(16);
  if (length === 0 || length > MAX_BACKING_NAME || offset + length > Math.min(clusterSize, first.length)) {
    throw new ImageError('the backing file name lies outside the first cluster or is too long');
  }
  const bytes = first.subarray(offset, offset + length);
  if (bytes.includes(0)) throw new ImageError('the backing file name contains a NUL byte');
  return { name: new TextDecoder().decode(bytes), format };
}

/** Where the tables may lie: aligned, inside the file, within limits, and not over each other. */
function checkTables(header: Qcow2Header, fileSize: number): void {
  const { clusterSize, l1Size, l1Offset, refcountTableOffset, refcountTableClusters } = header;
  const perL2 = clusterSize / 8;
  if (l1Size * 8 > MAX_L1_BYTES) throw new ImageError(`the L1 table is too large: ${l1Size} entries`);
  if (Math.ceil(header.size / clusterSize / perL2) > l1Size) {
    throw new ImageError(`an L1 table of ${l1Size} entries is too small for a disk of ${header.size} bytes`);
  }
  if (refcountTableClusters === 0) throw new ImageError('the image has no refcount table');
  if (refcountTableClusters * clusterSize > MAX_REFCOUNT_TABLE_BYTES) {
    throw new ImageError(`the refcount table is too large: ${refcountTableClusters} clusters`);
  }
  if (header.snapshotCount > MAX_SNAPSHOTS)
    throw new ImageError(`${header.snapshotCount} snapshots are too many`);

  const end = Math.ceil(fileSize / clusterSize) * clusterSize;
  const tables = [
    { name: 'the L1 table', start: l1Offset, length: Math.ceil((l1Size * 8) / clusterSize) * clusterSize },
    { name: 'the refcount table', start: refcountTableOffset, length: refcountTableClusters * clusterSize },
    {
      name: 'the snapshot table',
      start: header.snapshotsOffset,
      length: header.snapshotCount > 0 ? clusterSize : 0,
    },
  ].filter(({ length }) => length > 0);
  for (const { name, start, length } of tables) {
    if (start % clusterSize !== 0) throw new ImageError(`${name} is not aligned: ${hex(start)}`);
    if (start === 0) throw new ImageError(`${name} overlaps the header`);
    if (start + length > end) throw new ImageError(`${name} at ${hex(start)} lies outside the file`);
  }
  for (const [index, a] of tables.entries()) {
    for (const b of tables.slice(index + 1)) {
      if (a.start < b.start + b.length && b.start < a.start + a.length) {
        throw new ImageError(`${a.name} and ${b.name} overlap at ${hex(Math.max(a.start, b.start))}`);
      }
    }
  }
}

/** Bytes to read for the header of a file of this size: the first cluster. */
export const firstClusterLength = (start: Uint8Array, fileSize: number): number =>
  Math.min(clusterSizeOf(start), fileSize);

/** Bytes that show whether a file is an image and how large its clusters are. */
export const HEADER_PROBE = KiB / 2;
