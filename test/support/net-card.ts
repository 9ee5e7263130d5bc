/**
 * A network card with a driver that keeps its receive queue filled and sends whatever it is told to: for tests of what lies
 * behind cards. Buffers are used again, so it runs as long as it likes.
 */
import type { VnetBackend } from '../../src/devices/net/backend.js';
import { NetDevice, type NetDeviceOptions } from '../../src/devices/net/device.js';
import { GuestRam } from './guest-ram.js';
import { HDR, netHeader } from './net-driver.js';
import { type Plugged, plug, turn } from './plug.js';

/** Bytes of a receive buffer, and the largest frame that is sent. */
const ROOM = 2048;
const LARGEST = 65_560;

export class TestCard {
  readonly plugged: Plugged<NetDevice>;
  /** Frames received, with their headers; copies. */
  readonly received: { readonly header: Uint8Array; readonly frame: Uint8Array }[] = [];
  readonly hostErrors: unknown[] = [];
  #send = 0;
  #places: number[] = [];
  #parts: Uint8Array[] = [];

  constructor(backend: VnetBackend, mac: Uint8Array, options: Partial<NetDeviceOptions> = {}) {
    const onHostError = (error: unknown): void => void this.hostErrors.push(error);
    const device = new NetDevice('card', { backend, mac, onHostError, ...options });
    this.plugged = plug(device, { ram: new GuestRam(2 ** 21) });
  }

  get device(): NetDevice {
    return this.plugged.device;
  }

  /** Starts the driver. @param buffers it posts to receive into */
  start({ features = ~0n, buffers = 256 }: { features?: bigint; buffers?: number } = {}): this {
    const { driver, ram } = this.plugged;
    driver.start({ features });
    this.#send = ram.alloc(HDR + LARGEST);
    this.#places = Array.from({ length: buffers }, () => ram.alloc(ROOM));
    for (const at of this.#places) driver.queue(0).add([{ at, length: ROOM, write: true }]);
    driver.queue(0).kick();
    return this;
  }

  /** Posts so many more buffers to receive into. */
  post(count: number): void {
    const { driver, ram } = this.plugged;
    for (let index = 0; index < count; index += 1) {
      driver.queue(0).add([{ at: ram.alloc(ROOM), length: ROOM, write: true }]);
    }
    driver.queue(0).kick();
  }

  /** Sends a frame once there is room for it in the queue. */
  async send(frame: Uint8Array, header = netHeader()): Promise<void> {
    const { driver, ram } = this.plugged;
    ram.at(this.#send, HDR).set(header);
    ram.at(this.#send + HDR, frame.length).set(frame);
    driver.queue(1).post([{ at: this.#send, length: HDR + frame.length }]);
    // One buffer for all frames: the next must wait until this one has gone.
    for (const end = performance.now() + 5000; driver.queue(1).collect().length === 0; ) {
      if (performance.now() > end) throw new Error('a frame is not sent');
      await turn();
      this.collect();
    }
  }

  /** Takes what has come, and posts its buffers again. @returns frames so far */
  collect(): number {
    const { driver } = this.plugged;
    const queue = driver.queue(0);
    for (const { length, posted } of queue.collect()) {
      const bytes = posted!.written().subarray(0, length);
      if (this.#parts.length === 0) {
        if (length < HDR) throw new Error(`a frame of ${length} bytes`);
      }
      this.#parts.push(bytes);
      const all = Buffer.concat(this.#parts);
      if (this.#parts.length === all.readUInt16LE(10)) {
        this.received.push({ header: all.subarray(0, HDR), frame: new Uint8Array(all.subarray(HDR)) });
        this.#parts = [];
      }
      queue.add(posted!.pieces);
    }
    queue.kick();
    return this.received.length;
  }

  /** `collect` until there are `count` frames that `fits`. @throws Error after `limitMs` */
  async take(
    count: number,
    fits: (frame: Uint8Array) => boolean = () => true,
    limitMs = 5000,
  ): Promise<Uint8Array[]> {
    for (const end = performance.now() + limitMs; ; ) {
      this.collect();
      const frames = this.received.map(({ frame }) => frame).filter(fits);
      if (frames.length >= count) return frames;
      if (performance.now() > end) throw new Error(`${frames.length} of ${count} frames after ${limitMs} ms`);
      await turn();
    }
  }
}
