/** Block requests as a driver writes them, from virtio 1.2 §5.2.6; nothing of src/devices/blk. */
import { BlkDevice, type BlkOptions } from '../../src/devices/blk/device.js';
import type { StartOptions } from './fake-driver.js';
import type { Piece, Used } from './fake-queue.js';
import { type Plugged, plug } from './plug.js';
import { type DiskOptions, TestDisk } from './test-disk.js';

export const T = {
  IN: 0,
  OUT: 1,
  FLUSH: 4,
  GET_ID: 8,
  GET_LIFETIME: 10,
  DISCARD: 11,
  WRITE_ZEROES: 13,
} as const;
export const OK = 0;
export const IOERR = 1;
export const UNSUPP = 2;
/** What a status byte is before the device writes it. */
export const UNTOUCHED = 0xee;

export const BLK_F = {
  SIZE_MAX: 1n << 1n,
  SEG_MAX: 1n << 2n,
  GEOMETRY: 1n << 4n,
  RO: 1n << 5n,
  BLK_SIZE: 1n << 6n,
  FLUSH: 1n << 9n,
  TOPOLOGY: 1n << 10n,
  CONFIG_WCE: 1n << 11n,
  MQ: 1n << 12n,
  DISCARD: 1n << 13n,
  WRITE_ZEROES: 1n << 14n,
  LIFETIME: 1n << 15n,
  SECURE_ERASE: 1n << 16n,
} as const;

export interface Request {
  readonly type: number;
  readonly sector?: number | bigint;
  readonly out?: Uint8Array;
  /** Bytes of data the device may write, before the status byte. */
  readonly into?: number;
}

export interface Answer {
  readonly status: number;
  /** Used length. */
  readonly length: number;
  /** The data part of what the device may write. */
  readonly data: Uint8Array;
}

export function header(type: number, sector: number | bigint = 0): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, 0x5eed, true); // reserved: any
  view.setBigUint64(8, BigInt(sector), true);
  return bytes;
}

/** Ranges of a discard or write-zeroes request. */
export function ranges(
  ...list: readonly { sector: number | bigint; sectors: number; flags?: number }[]
): Uint8Array {
  const bytes = new Uint8Array(16 * list.length);
  const view = new DataView(bytes.buffer);
  for (const [index, { sector, sectors, flags = 0 }] of list.entries()) {
    view.setBigUint64(16 * index, BigInt(sector), true);
    view.setUint32(16 * index + 8, sectors, true);
    view.setUint32(16 * index + 12, flags, true);
  }
  return bytes;
}

export class BlkDriver {
  readonly #plugged: Plugged<BlkDevice>;

  constructor(
    readonly disk: TestDisk,
    options: Partial<BlkOptions> = {},
  ) {
    this.#plugged = plug(new BlkDevice('blk0', { disk, ...options }));
  }

  /** A device over a TestDisk, started. */
  static started({
    disk,
    start,
    ...options
  }: Partial<Omit<BlkOptions, 'disk'>> & { disk?: DiskOptions; start?: StartOptions } = {}): BlkDriver {
    const driver = new BlkDriver(new TestDisk(disk), options);
    driver.driver.start(start);
    return driver;
  }

  get plugged(): Plugged<BlkDevice> {
    return this.#plugged;
  }
  get device(): BlkDevice {
    return this.#plugged.device;
  }
  get driver() {
    return this.#plugged.driver;
  }

  /** Posts a request as Linux does: head, data, status, each in its own descriptor. */
  post({ type, sector = 0, out, into = 0 }: Request, queue = 0): () => Answer {
    const pieces: Piece[] = [header(type, sector)];
    if (out) pieces.push(out);
    if (into > 0) pieces.push(into);
    return this.postPieces([...pieces, 1], queue);
  }
  /** The same for any pieces that end with the status byte. @returns how to read the answer */
  postPieces(pieces: readonly Piece[], queue = 0): () => Answer {
    const target = this.driver.queue(queue);
    const posted = target.add(pieces);
    for (const { at, length, write } of posted.pieces)
      if (write) this.#plugged.ram.at(at, length).fill(UNTOUCHED);
    target.kick();
    return () => {
      const all = posted.written();
      return { status: all.at(-1)!, length: Number.NaN, data: all.subarray(0, -1) };
    };
  }

  /** One request and its answer. */
  async request(request: Request, queue = 0): Promise<Answer> {
    const answer = this.post(request, queue);
    const [used] = await this.driver.queue(queue).take();
    return { ...answer(), length: used!.length };
  }
  async requestPieces(pieces: readonly Piece[], queue = 0): Promise<Answer> {
    const answer = this.postPieces(pieces, queue);
    const [used] = await this.driver.queue(queue).take();
    return { ...answer(), length: used!.length };
  }
  take(count = 1, queue = 0): Promise<Used[]> {
    return this.driver.queue(queue).take(count);
  }
}
