/**
 * A virtio driver for tests: plays the guest against a transport's registers, by virtio 1.2 §3.1.1 and §4.2.3, with offsets and bits
 * of its own (never those of src/virtio). Queues are FakeQueues.
 *
 *   const { driver } = plug(new RngDevice('rng', source));
 *   driver.start();
 *   driver.queue(0).post([64]);
 *   const [used] = driver.queue(0).collect();
 */
import { FakeQueue } from './fake-queue.js';
import type { GuestRam } from './guest-ram.js';

/** §4.2.2; only what a driver uses. */
export const REG = {
  MagicValue: 0x000,
  Version: 0x004,
  DeviceID: 0x008,
  VendorID: 0x00c,
  DeviceFeatures: 0x010,
  DeviceFeaturesSel: 0x014,
  DriverFeatures: 0x020,
  DriverFeaturesSel: 0x024,
  QueueSel: 0x030,
  QueueNumMax: 0x034,
  QueueNum: 0x038,
  QueueReady: 0x044,
  QueueNotify: 0x050,
  InterruptStatus: 0x060,
  InterruptACK: 0x064,
  Status: 0x070,
  QueueDescLow: 0x080,
  QueueDescHigh: 0x084,
  QueueDriverLow: 0x090,
  QueueDriverHigh: 0x094,
  QueueDeviceLow: 0x0a0,
  QueueDeviceHigh: 0x0a4,
  SHMSel: 0x0ac,
  SHMLenLow: 0x0b0,
  SHMLenHigh: 0x0b4,
  SHMBaseLow: 0x0b8,
  SHMBaseHigh: 0x0bc,
  QueueReset: 0x0c0,
  ConfigGeneration: 0x0fc,
  Config: 0x100,
} as const;

/** §2.1 */
export const ST = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  NEEDS_RESET: 64,
  FAILED: 128,
} as const;
/** What Status reads while a device works. */
export const RUNNING = ST.ACKNOWLEDGE | ST.DRIVER | ST.FEATURES_OK | ST.DRIVER_OK;

/** §6 */
export const INDIRECT_DESC = 1n << 28n;
export const EVENT_IDX = 1n << 29n;
export const VERSION_1 = 1n << 32n;

/** InterruptStatus, §4.2.2 */
export const USED_BUFFER = 1;
export const CONFIG_CHANGE = 2;

/** A transport as the bus sees it. */
export interface Registers {
  read(offset: number, data: Uint8Array): void | Promise<void>;
  write(offset: number, data: Uint8Array): void | Promise<void>;
}

export interface StartOptions {
  /** Accepted if offered; all by default. VERSION_1 always is. */
  readonly features?: bigint;
  /** Entries of each queue; the device's most by default. */
  readonly queueSize?: number;
  /** Queues to set up; all by default. */
  readonly queues?: readonly number[];
}

export class FakeDriver {
  /** What was negotiated. */
  features = 0n;
  #queues = new Map<number, FakeQueue>();

  constructor(
    readonly registers: Registers,
    readonly ram: GuestRam,
  ) {}

  read(offset: number, width = 4): number {
    const data = new Uint8Array(width).fill(0xaa);
    if (this.registers.read(offset, data)) throw new Error('a register read must not wait');
    let value = 0;
    for (const byte of data.toReversed()) value = value * 256 + byte;
    return value;
  }
  /** @returns a promise when the driver's vCPU would wait */
  write(offset: number, value: number, width = 4): void | Promise<void> {
    const data = new Uint8Array(width);
    for (let index = 0; index < width; index += 1) data[index] = Math.floor(value / 256 ** index) % 256;
    return this.registers.write(offset, data);
  }

  get status(): number {
    return this.read(REG.Status);
  }
  /** Sets bits of Status, as a driver does: what is there stays. @returns Status as read back */
  setStatus(bits: number): number {
    void this.write(REG.Status, this.status | bits);
    return this.status;
  }
  /** Writes 0 to Status. */
  reset(): void | Promise<void> {
    this.#queues.clear();
    return this.write(REG.Status, 0);
  }

  /** §3.1.1 from the first step to DRIVER_OK. @throws Error where a driver would give up */
  start(options: StartOptions = {}): this {
    if (this.reset()) throw new Error('the reset waits for I/O in flight: use restart()');
    this.begin();
    this.negotiate(options.features);
    this.setUpQueues(options);
    if (this.setStatus(ST.DRIVER_OK) !== RUNNING) throw new Error(`status 0x${this.status.toString(16)}`);
    return this;
  }
  /** `start`, after a reset that may have to wait. */
  async restart(options: StartOptions = {}): Promise<this> {
    await this.reset();
    return this.start(options);
  }

  /** Steps 2 and 3. */
  begin(): void {
    if (this.read(REG.MagicValue) !== 0x7472_6976 || this.read(REG.Version) !== 2)
      throw new Error('not virtio-mmio 2');
    if (this.read(REG.DeviceID) === 0) throw new Error('a placeholder');
    this.setStatus(ST.ACKNOWLEDGE);
    this.setStatus(ST.DRIVER);
  }

  get offered(): bigint {
    void this.write(REG.DeviceFeaturesSel, 1);
    const high = this.read(REG.DeviceFeatures);
    void this.write(REG.DeviceFeaturesSel, 0);
    return (BigInt(high) << 32n) | BigInt(this.read(REG.DeviceFeatures));
  }
  acceptFeatures(features: bigint): void {
    this.features = features;
    void this.write(REG.DriverFeaturesSel, 0);
    void this.write(REG.DriverFeatures, Number(features & 0xffff_ffffn));
    void this.write(REG.DriverFeaturesSel, 1);
    void this.write(REG.DriverFeatures, Number(features >> 32n));
  }
  /** Steps 4 to 6. */
  negotiate(wanted = ~0n): void {
    const offered = this.offered;
    this.acceptFeatures((offered & wanted) | VERSION_1);
    if (!(this.setStatus(ST.FEATURES_OK) & ST.FEATURES_OK)) throw new Error('features refused');
  }

  /** Step 7. */
  setUpQueues({ queueSize, queues }: StartOptions = {}): void {
    for (let index = 0; ; index += 1) {
      void this.write(REG.QueueSel, index);
      const most = this.read(REG.QueueNumMax);
      if (most === 0) return;
      if (!queues || queues.includes(index)) this.setUpQueue(index, Math.min(queueSize ?? most, most));
    }
  }
  /** §4.2.3.2. */
  setUpQueue(index: number, size: number): FakeQueue {
    void this.write(REG.QueueSel, index);
    if (this.read(REG.QueueReady) !== 0) throw new Error(`queue ${index} is in use`);
    const queue = new FakeQueue(this.ram, index, size, {
      eventIdx: (this.features & EVENT_IDX) !== 0n,
      notify: () => this.write(REG.QueueNotify, index),
    });
    void this.write(REG.QueueNum, size);
    this.placeQueue(queue.desc, queue.avail, queue.used);
    void this.write(REG.QueueReady, 1);
    this.#queues.set(index, queue);
    return queue;
  }
  /** The six address registers of the selected queue. */
  placeQueue(desc: number, avail: number, used: number): void {
    const both = (low: number, high: number, address: number): void => {
      void this.write(low, address % 2 ** 32);
      void this.write(high, Math.floor(address / 2 ** 32));
    };
    both(REG.QueueDescLow, REG.QueueDescHigh, desc);
    both(REG.QueueDriverLow, REG.QueueDriverHigh, avail);
    both(REG.QueueDeviceLow, REG.QueueDeviceHigh, used);
  }
  /** A queue that was set up. */
  queue(index = 0): FakeQueue {
    const queue = this.#queues.get(index);
    if (!queue) throw new Error(`queue ${index} was not set up`);
    return queue;
  }

  /** The interrupt handler of §4.2.3.4: reads the causes and acknowledges them. @returns the causes */
  handleInterrupt(): number {
    const causes = this.read(REG.InterruptStatus);
    if (causes) void this.write(REG.InterruptACK, causes);
    return causes;
  }

  /** A field of the configuration space, by its width. */
  config(offset: number, width: 1 | 2 | 4 | 8 = 4): number {
    if (width < 8) return this.read(REG.Config + offset, width);
    return this.config(offset) + 2 ** 32 * this.config(offset + 4);
  }
}
