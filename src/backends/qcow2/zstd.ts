/**
 * Zstandard frames, for images whose compressed clusters are zstd (RFC 8878). Node decodes them itself from 22.15 on;
 * before that the package zstddec does (the reference decoder as WebAssembly, so a hostile frame stays in its sandbox).
 * It is loaded when the first such image is opened, and by nobody else.
 * Runs on: main; Node's own decoder on libuv's pool.
 */
import zlib from 'node:zlib';
import { ImageError } from './image-error.js';

/** Decodes one frame that is not longer than `size` bytes decoded. May return less. */
export type FrameDecoder = (frame: Uint8Array, size: number) => Promise<Uint8Array>;

type ZstdDecompress = (
  frame: Uint8Array,
  options: { maxOutputLength: number },
  callback: (error: Error | null, bytes: Uint8Array) => void,
) => void;

const FRAME_MAGIC = 0xfd2f_b528;
const BLOCK_COMPRESSED_MAX = 128 * 1024;

export async function loadZstd(): Promise<FrameDecoder> {
  const builtIn = (zlib as unknown as { zstdDecompress?: ZstdDecompress }).zstdDecompress;
  if (builtIn) {
    return (frame, size) =>
      new Promise((resolve, reject) => {
        builtIn(frame, { maxOutputLength: size }, (error, bytes) => (error ? reject(error) : resolve(bytes)));
      });
  }
  const { ZSTDDecoder } = await import('zstddec');
  const decoder = new ZSTDDecoder();
  await decoder.init();
  return async (frame, size) => decoder.decode(frame, size);
}

/**
 * Decodes frames until `size` bytes are there. What follows the last one in `bytes` belongs to somebody else.
 * @throws ImageError for anything but exactly `size` bytes
 */
export async function decodeZstd(decode: FrameDecoder, bytes: Uint8Array, size: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let decoded = 0;
  for (let at = 0; decoded < size; ) {
    const length = frameLength(bytes.subarray(at));
    const part = await decode(bytes.subarray(at, at + length), size - decoded);
    if (part.length === 0 || part.length > size - decoded) throw new ImageError('a zstd frame is damaged');
    if (part.length === size) return part;
    parts.push(part);
    decoded += part.length;
    at += length;
  }
  return Buffer.concat(parts);
}

/** Bytes of the frame at the start of `bytes`, from its header and block headers (RFC 8878 §3.1.1). @throws ImageError */
export function frameLength(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (view.getUint32(0, true) !== FRAME_MAGIC)
      throw new ImageError('a zstd frame does not start with its magic');
    const descriptor = view.getUint8(4);
    const singleSegment = (descriptor >> 5) & 1;
    const sizeField = [singleSegment, 2, 4, 8][descriptor >> 6]!;
    const dictionaryField = [0, 1, 2, 4][descriptor & 3]!;
    let at = 5 + (1 - singleSegment) + dictionaryField + sizeField;
    for (let last = false; !last; ) {
      const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
      last = (header & 1) === 1;
      const size = header >> 3;
      const repeated = ((header >> 1) & 3) === 1;
      if (size > BLOCK_COMPRESSED_MAX && !repeated) throw new ImageError('a zstd block is too large');
      at += 3 + (repeated ? 1 : size);
    }
    at += descriptor & 4 ? 4 : 0; // content checksum
    if (at > bytes.length) throw new RangeError();
    return at;
  } catch (error) {
    if (error instanceof RangeError) throw new ImageError('a zstd frame is cut off');
    throw error;
  }
}
