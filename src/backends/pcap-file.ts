/**
 * A capture file in the pcapng format (draft-ietf-opsawg-pcapng), which tcpdump and Wireshark read: several cards in one
 * file, each an interface with its name. Little-endian, times in microseconds.
 *
 * Frames are copied and written in the background. When the disk does not keep up they are left out and counted: a guest must
 * not wait for its observer.
 * Runs on: main.
 */

import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { HostError } from '../base/errors.js';

/** Bytes that wait for the disk. */
const MAX_UNWRITTEN = 64 * 2 ** 20;
/** Block types, and the options used here. */
const BLOCK = { SECTION: 0x0a0d_0d0a, INTERFACE: 1, PACKET: 6 } as const;
const BYTE_ORDER = 0x1a2b_3c4d;
const OPTION = { END: 0, IF_NAME: 2, EPB_FLAGS: 2 } as const;
const LINKTYPE_ETHERNET = 1;
/** As the card's owner sees it: epb_flags, bits 0 and 1. */
const DIRECTION = { received: 1, sent: 2 } as const;

/** Which way a frame went, as the guest sees it. */
export type Direction = keyof typeof DIRECTION;

export class PcapFile {
  #interfaces = 0;
  /** Cards whose frames may still come. */
  #open = 0;
  /** Frames left out because the disk was too slow. */
  dropped = 0;
  #failed = false;

  private constructor(
    private readonly stream: WriteStream,
    /** Epoch time of `performance.now()`'s zero, µs. */
    private readonly origin: number,
    private readonly onNotice: (error: Error) => void,
  ) {
    stream.on('error', (error) => {
      this.#failed = true;
      onNotice(error);
    });
    stream.write(sectionHeader());
  }

  /** Makes the file, or empties it. @param onNotice told when something is missing in it @throws HostError ERR_FILE */
  static async create(path: string, onNotice: (error: Error) => void): Promise<PcapFile> {
    const stream = createWriteStream(path);
    try {
      await once(stream, 'open');
    } catch (error) {
      const { code = '', errno = 0 } = error as NodeJS.ErrnoException;
      const problem = PROBLEMS[code] ?? code;
      throw new HostError(`${path}: ${problem}`, 'open', -errno, code, { code: 'ERR_FILE', cause: error });
    }
    return new PcapFile(stream, performance.timeOrigin * 1000, onNotice);
  }

  /** Adds a card. @returns its number, for `record` */
  addInterface(name: string): number {
    this.stream.write(interfaceBlock(name));
    this.#interfaces += 1;
    this.#open += 1;
    return this.#interfaces - 1;
  }

  /** Writes one frame down; it is copied. */
  record(card: number, direction: Direction, frame: Uint8Array): void {
    if (this.#failed) return;
    if (this.stream.writableLength > MAX_UNWRITTEN) this.dropped += 1;
    else this.stream.write(packetBlock(card, direction, frame, this.origin + performance.now() * 1000));
  }

  /** A card is gone: writes what waits when it was the last one. */
  async removeInterface(): Promise<void> {
    this.#open -= 1;
    if (this.#open === 0) await this.close();
  }

  /** Writes what waits. */
  async close(): Promise<void> {
    if (this.dropped > 0)
      this.onNotice(new Error(`${this.dropped} frames were left out: the disk is too slow`));
    if (this.#failed) return;
    await new Promise<void>((resolve) => {
      this.stream.once('close', resolve);
      this.stream.end();
    });
  }
}

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'no such folder',
  EACCES: 'permission denied',
  EISDIR: 'is a directory',
  EROFS: 'the file system is read-only',
};

/** A block: type, length, body, length again. */
function block(type: number, bodyLength: number, fill: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(12 + bodyLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, bytes.length, true);
  view.setUint32(bytes.length - 4, bytes.length, true);
  fill(new DataView(bytes.buffer, 8, bodyLength));
  return bytes;
}

const sectionHeader = (): Uint8Array =>
  block(BLOCK.SECTION, 16, (view) => {
    view.setUint32(0, BYTE_ORDER, true);
    view.setUint16(4, 1, true); // version 1.0
    view.setBigInt64(8, -1n, true); // length not said
  });

/** snaplen 0: no limit. */
function interfaceBlock(name: string): Uint8Array {
  const text = new TextEncoder().encode(name);
  return block(BLOCK.INTERFACE, 8 + 4 + padded(text.length) + 4, (view) => {
    view.setUint16(0, LINKTYPE_ETHERNET, true);
    view.setUint16(8, OPTION.IF_NAME, true);
    view.setUint16(10, text.length, true);
    new Uint8Array(view.buffer, view.byteOffset + 12).set(text);
  });
}

function packetBlock(
  card: number,
  direction: Direction,
  frame: Uint8Array,
  microseconds: number,
): Uint8Array {
  const data = padded(frame.length);
  return block(BLOCK.PACKET, 20 + data + 12, (view) => {
    view.setUint32(0, card, true);
    view.setUint32(4, Math.floor(microseconds / 2 ** 32), true);
    view.setUint32(8, microseconds % 2 ** 32, true);
    view.setUint32(12, frame.length, true);
    view.setUint32(16, frame.length, true);
    new Uint8Array(view.buffer, view.byteOffset + 20).set(frame);
    view.setUint16(20 + data, OPTION.EPB_FLAGS, true);
    view.setUint16(22 + data, 4, true);
    view.setUint32(24 + data, DIRECTION[direction], true);
    view.setUint32(28 + data, OPTION.END, true);
  });
}

const padded = (length: number): number => (length + 3) & ~3;
