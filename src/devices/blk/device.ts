/**
 * Block device (virtio 1.2 §5.2) over any BlockBackend. Requests of all queues run side by side; each completes on its
 * own. What the host cannot do reaches the guest as VIRTIO_BLK_S_IOERR, and the VM lives.
 *
 * `len` in the used ring is the number of bytes written from the start of the writable part on (§2.7.8.2): all of it for
 * a read that succeeded, none for one that failed, whose status byte lies behind untouched data.
 * Runs on: main.
 */
import type { Session, VirtioDevice } from '../../virtio/device.js';
import type { Queue } from '../../virtio/queue.js';
import { type RateLimit, RateLimiter } from '../rate-limiter.js';
import type { BlockBackend } from './backend.js';
import { blkConfig, featuresOf, setCapacity } from './config.js';
import { execute, type Terms } from './execute.js';
import { CONFIG, DEVICE_ID, F, ID_BYTES, S, T } from './protocol.js';
import { type BlkRequest, parseRequest } from './request.js';

/** Most entries of a queue. */
export const QUEUE_SIZE = 256;
/** Work of one turn of the event loop: about 100 µs of submissions, or of copying. */
const MAX_TURN_REQUESTS = 32;
const MAX_TURN_BYTES = 2 ** 20;

export interface BlkOptions {
  readonly disk: BlockBackend;
  readonly readOnly?: boolean | undefined;
  /** Request queues, 1 to 16. */
  readonly queues?: number | undefined;
  /** What GET_ID answers: 20 bytes of ASCII at most. */
  readonly serial?: string | undefined;
  readonly limit?: RateLimit | undefined;
  /** Told of every request that the host failed. */
  readonly onHostError?: ((error: unknown) => void) | undefined;
}

/** A block device, as `vm.disks` gives it: what it counted, its limits, and changes of the disk behind it. */
export class BlkDevice implements VirtioDevice {
  readonly type = DEVICE_ID;
  readonly queueSizes: readonly number[];
  readonly features: bigint;
  readonly config;
  /** Its limits, which may be changed at any time. */
  readonly limiter: RateLimiter;
  readonly stats = { reads: 0, writes: 0, flushes: 0, readBytes: 0, writtenBytes: 0, errors: 0 };
  readonly #options: BlkOptions;
  readonly #id: Uint8Array;
  readonly readOnly: boolean;
  #disk: BlockBackend;
  #session: Session | undefined;
  /** What the driver chose at its last FEATURES_OK. */
  #accepted = 0n;
  #terms: Terms | undefined;
  /** Requests whose buffers the back end has, by queue; and other work of the back end, last. */
  readonly #inFlight: number[];
  /** What waits until the last of one of these has completed, or of all of them. */
  #idle: { readonly index: number | undefined; readonly tell: () => void }[] = [];
  /** No request is started while a disk is being changed. */
  #held = false;
  #stopWaiting: (() => void) | undefined;

  constructor(
    readonly name: string,
    options: BlkOptions,
  ) {
    const { disk, queues = 1, serial = name, limit } = options;
    this.#options = options;
    this.#disk = disk;
    this.readOnly = options.readOnly === true || disk.readOnly === true || !disk.write;
    this.queueSizes = Array.from({ length: queues }, () => QUEUE_SIZE);
    this.#inFlight = Array.from({ length: queues + 1 }, () => 0);
    this.features = featuresOf(disk, this.readOnly, queues);
    this.config = blkConfig(disk, queues);
    this.#id = new Uint8Array(ID_BYTES);
    new TextEncoder().encodeInto(serial, this.#id);
    this.limiter = new RateLimiter(limit);
  }

  /** What it reads and writes now. */
  get disk(): BlockBackend {
    return this.#disk;
  }

  activate(session: Session): void {
    this.#session = session;
    this.#agree(session);
  }

  kick(index: number): void {
    const session = this.#session;
    const queue = session?.queues[index];
    if (!session || !queue || !this.#terms || this.#held || this.#stopWaiting) return;
    const terms = this.#terms;
    let requests = 0;
    let bytes = 0;
    do {
      for (let chain = queue.pop(); chain; chain = queue.pop()) {
        const request = parseRequest(chain);
        const length = request.outLength + request.intoLength;
        const wait = this.limiter.active ? this.limiter.take(length) : 0;
        if (wait > 0) {
          queue.unpop();
          this.#later(session, wait);
          return;
        }
        this.#start(request, terms, session, queue, index);
        requests += 1;
        // A few bytes that ask for much: nothing else in this turn.
        bytes += request.type === T.DISCARD || request.type === T.WRITE_ZEROES ? MAX_TURN_BYTES : length;
        if (requests >= MAX_TURN_REQUESTS || bytes >= MAX_TURN_BYTES) {
          session.kickLater(index);
          return;
        }
      }
    } while (queue.rearm());
  }

  reset(): void | Promise<void> {
    this.#stopWaiting?.();
    this.#stopWaiting = undefined;
    this.#session = undefined;
    this.#terms = undefined;
    this.#accepted = 0n;
    return this.#isIdle(undefined) ? undefined : this.#drained();
  }

  /** The driver takes a queue back: its buffers are its own again when what the back end has of them is done. */
  stopQueue(index: number): void | Promise<void> {
    return this.#isIdle(index) ? undefined : this.#drained(index);
  }

  /** §5.2.5.2: a driver that cannot flush starts with a cache that is written through. */
  acceptsFeatures(features: bigint): boolean {
    this.#accepted = features;
    const writeback = !(features & F.CONFIG_WCE) || (features & F.FLUSH) !== 0n;
    this.config.set(CONFIG.wce, Uint8Array.of(Number(writeback)));
    return true;
  }

  /**
   * §5.2.5: the cache mode is the only field a driver may write, only when it has negotiated CONFIG_WCE, as 0 or 1. One that
   * cannot flush must not have a cache that needs it.
   */
  writeConfig(offset: number, data: Uint8Array): void {
    const [mode] = data;
    if (offset !== CONFIG.wce || data.length !== 1 || mode! > 1 || !(this.#accepted & F.CONFIG_WCE)) return;
    if (mode === 1 && !(this.#accepted & F.FLUSH)) return;
    this.config.set(offset, data);
    if (!this.#session) return;
    this.#agree(this.#session);
    // What was written back so far becomes durable too.
    if (this.#terms?.writethrough) this.#track(this.#disk.flush?.());
  }

  async close(): Promise<void> {
    await this.#disk.close?.();
  }

  /** Looks at the back end's size again and tells the driver (§5.2.4 "capacity"). */
  resized(): void {
    this.config.update((view) => setCapacity(view, this.#disk));
  }

  /**
   * Goes on with another disk once nothing is in flight on this one, which the caller gets back. The driver sees a change
   * of capacity; what it has cached is its business.
   * @throws RangeError when the new one cannot do what was offered to the driver
   */
  async replace(disk: BlockBackend): Promise<BlockBackend> {
    const missing = featuresOf(this.#disk, this.readOnly, 1) & ~featuresOf(disk, this.readOnly, 1);
    if (missing !== 0n || (!this.readOnly && (disk.readOnly || !disk.write))) {
      throw new RangeError(`${this.name}: the new disk cannot do all that the old one does`);
    }
    this.#held = true;
    await this.#drained();
    const old = this.#disk;
    this.#disk = disk;
    this.#held = false;
    if (this.#session) this.#agree(this.#session);
    this.resized();
    this.#kickAll();
    return old;
  }

  /** What requests are judged by from now on. */
  #agree({ features }: Session): void {
    const wce = (features & F.CONFIG_WCE) !== 0n ? this.config.bytes[CONFIG.wce] === 1 : undefined;
    this.#terms = {
      disk: this.#disk,
      readOnly: this.readOnly,
      // §5.2.6.2: a driver that cannot flush must not need to.
      writethrough: wce === undefined ? !(features & F.FLUSH) : !wce,
      discard: (features & F.DISCARD) !== 0n,
      writeZeroes: (features & F.WRITE_ZEROES) !== 0n,
      id: this.#id,
    };
  }

  #start(request: BlkRequest, terms: Terms, session: Session, queue: Queue, index: number): void {
    let outcome: number | Promise<number>;
    try {
      outcome = execute(request, terms, () => this.#session === session && !queue.stopped);
    } catch (error) {
      this.#failed(error);
      outcome = S.IOERR;
    }
    if (typeof outcome === 'number') {
      this.#complete(request, outcome, session, queue, index);
      return;
    }
    this.#inFlight[index]! += 1;
    const end = (status: number): void => {
      this.#complete(request, status, session, queue, index);
      this.#settled(index);
    };
    outcome.then(end, (error: unknown) => {
      this.#failed(error);
      end(S.IOERR);
    });
  }

  #complete(request: BlkRequest, status: number, session: Session, queue: Queue, index: number): void {
    // The driver gave the queue up: its memory is its own again.
    if (this.#session !== session || queue.stopped) return;
    const { type, intoLength } = request;
    this.#count(request, status);
    request.status[0] = status;
    let written = 0;
    if (status === S.OK && type === T.IN) written = intoLength;
    else if (status === S.OK && type === T.GET_ID) written = ID_BYTES;
    // The status byte follows the data: it counts when everything before it was written.
    queue.push(request, written === intoLength ? written + 1 : written);
    session.publishSoon(index);
  }

  #count({ type, intoLength, outLength }: BlkRequest, status: number): void {
    const { stats } = this;
    if (status === S.IOERR) stats.errors += 1;
    else if (type === T.IN) {
      stats.reads += 1;
      stats.readBytes += intoLength;
    } else if (type === T.OUT) {
      stats.writes += 1;
      stats.writtenBytes += outLength;
    } else if (type === T.FLUSH) stats.flushes += 1;
  }

  #failed(error: unknown): void {
    this.#options.onHostError?.(error);
  }

  /** Work on the back end that is no request. */
  #track(pending: void | Promise<void>): void {
    if (!pending) return;
    const index = this.queueSizes.length;
    this.#inFlight[index]! += 1;
    pending.catch((error: unknown) => this.#failed(error)).then(() => this.#settled(index));
  }

  #settled(index: number): void {
    this.#inFlight[index]! -= 1;
    if (this.#idle.length === 0) return;
    const waiting = this.#idle.splice(0);
    for (const one of waiting) {
      if (this.#isIdle(one.index)) one.tell();
      else this.#idle.push(one);
    }
  }

  /** @param index a queue, or undefined for everything */
  #isIdle(index: number | undefined): boolean {
    return index === undefined ? this.#inFlight.every((count) => count === 0) : this.#inFlight[index] === 0;
  }

  #drained(index?: number): Promise<void> {
    if (this.#isIdle(index)) return Promise.resolve();
    return new Promise((tell) => {
      this.#idle.push({ index, tell });
    });
  }

  #later(session: Session, ms: number): void {
    this.#stopWaiting = this.limiter.later(ms, () => {
      this.#stopWaiting = undefined;
      session.run(() => this.#kickAll());
    });
  }

  #kickAll(): void {
    const session = this.#session;
    if (!session) return;
    for (const index of session.queues.keys()) session.kickLater(index);
  }
}
