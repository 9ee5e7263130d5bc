/**
 * Compressed clusters: raw deflate or zstd, read whole, the last few kept decoded, since a guest reads a cluster in pieces.
 * They are never written: a write turns a cluster into a standard one. QEMU docs/interop/qcow2.txt "Compressed Clusters
 * Descriptor".
 * Runs on: main; inflating on libuv's pool.
 */
import { constants, inflateRaw } from 'node:zlib';
import { MiB } from '../../base/units.js';
import { ImageError } from './image-error.js';
import type { ImageFile } from './image-file.js';
import type { Mapping } from './l2-entry.js';
import { decodeZstd, type FrameDecoder, loadZstd } from './zstd.js';

/** Decoded bytes to keep, two clusters at least. */
const CACHE_BYTES = 4 * MiB;

export class CompressedClusters {
  readonly #capacity: number;
  /** By host offset, least recently used first. Nothing is ever compressed into a place again, so none goes stale. */
  readonly #decoded = new Map<number, Promise<Uint8Array>>();

  private constructor(
    readonly file: ImageFile,
    readonly clusterSize: number,
    readonly zstd: FrameDecoder | undefined,
  ) {
    this.#capacity = Math.max(2, CACHE_BYTES / clusterSize);
  }

  static async open(
    file: ImageFile,
    clusterSize: number,
    compression: 'deflate' | 'zstd',
  ): Promise<CompressedClusters> {
    return new CompressedClusters(file, clusterSize, compression === 'zstd' ? await loadZstd() : undefined);
  }

  /** The contents of the cluster; not to be changed. @throws ImageError when they cannot be decoded */
  read(mapping: Mapping): Promise<Uint8Array> {
    const known = this.#decoded.get(mapping.offset);
    if (known) {
      this.#decoded.delete(mapping.offset);
      this.#decoded.set(mapping.offset, known);
      return known;
    }
    const decoded = this.#decode(mapping);
    this.#decoded.set(mapping.offset, decoded);
    decoded.catch(() => this.#decoded.delete(mapping.offset)); // read it again next time
    if (this.#decoded.size > this.#capacity) this.#decoded.delete(this.#decoded.keys().next().value!);
    return decoded;
  }

  async #decode({ offset, length }: Mapping): Promise<Uint8Array> {
    const bytes = new Uint8Array(length); // at most two clusters: the entry's field has no more bits
    await this.file.readv(offset, [bytes]);
    const decoded = this.zstd
      ? await decodeZstd(this.zstd, bytes, this.clusterSize)
      : await inflate(bytes, this.clusterSize);
    if (decoded.length !== this.clusterSize) throw new ImageError('a compressed cluster is too short');
    return decoded;
  }
}

/** Raw deflate; whatever follows its end in the last sector is not looked at, and neither is a missing end. */
function inflate(bytes: Uint8Array, size: number): Promise<Uint8Array> {
  const options = { maxOutputLength: size, chunkSize: size, finishFlush: constants.Z_SYNC_FLUSH };
  return new Promise((resolve, reject) => {
    inflateRaw(bytes, options, (error, decoded) => {
      if (error) reject(new ImageError('a compressed cluster is damaged', { cause: error }));
      else resolve(decoded);
    });
  });
}
