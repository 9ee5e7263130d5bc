/**
 * Frames of the agent's protocol: a 32-bit length, a type, a payload (native/agent/protocol.h). A guest may send anything: a frame that is
 * too long, or shorter than what it should hold, is an error of class VmmError.
 */
import { VmmError } from '../base/errors.js';
import { MAX_PAYLOAD } from './protocol.js';

const HEADER = 5;

export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

export const garbage = (what: string): VmmError =>
  new VmmError('ERR_AGENT', `the guest's agent speaks garbage: ${what}`);

export function encodeFrame(type: number, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length > MAX_PAYLOAD) throw new RangeError(`a frame of ${length} bytes`);
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(length + 1);
  header.writeUInt8(type, 4);
  return Buffer.concat([header, ...parts]);
}

/** Cuts what arrives into frames. */
export class FrameDecoder {
  #chunks: Buffer[] = [];
  #length = 0;

  /** @returns the frames that are complete now @throws VmmError ERR_AGENT */
  push(chunk: Buffer): Frame[] {
    this.add(chunk);
    const frames: Frame[] = [];
    for (let frame = this.next(); frame; frame = this.next()) frames.push(frame);
    return frames;
  }

  /** For `next` to look at. */
  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** @returns undefined: more has to come @throws VmmError ERR_AGENT */
  next(): Frame | undefined {
    if (this.#length < HEADER) return undefined;
    const size = this.#peekSize();
    // Joined only when there is a frame in them: one that comes byte by byte must not be copied for each.
    if (this.#length < 4 + size) return undefined;
    const all = this.rest();
    const rest = all.subarray(4 + size);
    if (rest.length > 0) this.add(rest);
    return { type: all.readUInt8(4), payload: all.subarray(HEADER, 4 + size) };
  }

  /** Takes what is not decoded yet. */
  rest(): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#length = 0;
    return all;
  }

  #peekSize(): number {
    if (this.#chunks[0]!.length < 4) this.#chunks = [Buffer.concat(this.#chunks)];
    const size = this.#chunks[0]!.readUInt32LE();
    if (size < 1 || size > MAX_PAYLOAD + 1) throw garbage(`a frame of ${size} bytes`);
    return size;
  }
}

export const u8 = (value: number): Buffer => Buffer.of(value);
export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

/** A string with its NUL. @throws VmmError ERR_VMM_CONFIG when it holds one already */
export function text(value: string): Buffer {
  if (value.includes('\0'))
    throw new VmmError('ERR_VMM_CONFIG', `contains a NUL character: ${JSON.stringify(value)}`);
  return Buffer.from(`${value}\0`);
}
