/**
 * The virtio-mmio transport, version 2 (virtio 1.2 §4.2): one device's registers. It owns status, negotiation, queue
 * set-up and interrupts, and it is the one place where guest faults end: the device gets DEVICE_NEEDS_RESET, the VM and
 * its other devices live on.
 *
 * InterruptStatus and InterruptACK are answered by the vCPU threads from the register page; QueueNotify is an ioeventfd.
 * Both are answered here too, with the same meaning.
 * Runs on: main.
 */
import { GuestFault } from '../base/errors.js';
import type { BusDevice } from '../bus/bus.js';
import type { RegisterPage, SharedWord } from '../bus/register-page.js';
import type { Interrupt } from '../irq/interrupt.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { VirtioDevice } from './device.js';
import { F, TRANSPORT_FEATURES } from './features.js';
import { INT, MAGIC, NO_REGION, REGISTER, VENDOR, VERSION } from './mmio-registers.js';
import { Queue } from './queue.js';
import { emptyQueue, layoutOf, type QueueSetup } from './queue-setup.js';
import { ActiveSession } from './session.js';
import { isLegalStep, STATUS } from './status.js';

interface Register {
  readonly read?: (transport: MmioTransport) => number;
  readonly write?: (transport: MmioTransport, value: number) => void | Promise<void>;
}

export interface MmioOptions {
  readonly device: VirtioDevice;
  readonly memory: GuestMemory;
  readonly irq: Interrupt;
  readonly page: RegisterPage;
  /** Guest-physical address of the window. */
  readonly base: number;
  /** The guest broke a rule; the device waits for a reset. */
  readonly onFault: (fault: GuestFault) => void;
  /** The device itself failed: our bug, or an embedder's. */
  readonly onError: (error: unknown) => void;
}

export class MmioTransport implements BusDevice {
  readonly device: VirtioDevice;
  /** Guest faults so far. */
  faults = 0;
  readonly #options: MmioOptions;
  readonly #offered: bigint;
  readonly #interruptStatus: SharedWord;
  #status = 0;
  #deviceFeaturesSel = 0;
  #driverFeaturesSel = 0;
  #driverFeatures = 0n;
  #queueSel = 0;
  #queues: QueueSetup[];
  #session: ActiveSession | undefined;
  #resetting: Promise<void> | undefined;

  constructor(options: MmioOptions) {
    const { device, page, base } = options;
    this.#options = options;
    this.device = device;
    this.#offered = device.features | TRANSPORT_FEATURES;
    this.#queues = device.queueSizes.map(emptyQueue);
    this.#interruptStatus = page.word();
    page.readWord('mmio', base + REGISTER.InterruptStatus, 4, this.#interruptStatus).enabled = true;
    page.clearBits('mmio', base + REGISTER.InterruptACK, 4, this.#interruptStatus).enabled = true;
    device.config?.listen(() => this.#configChanged());
  }

  /** §4.2.2 table 4.1: what the driver may do with each register. Offsets that are not here read 0 and ignore writes. */
  static readonly #registers: ReadonlyMap<number, Register> = new Map<number, Register>([
    [REGISTER.MagicValue, { read: () => MAGIC }],
    [REGISTER.Version, { read: () => VERSION }],
    [REGISTER.DeviceID, { read: (t) => t.device.type }],
    [REGISTER.VendorID, { read: () => VENDOR }],
    [REGISTER.DeviceFeatures, { read: (t) => half(t.#offered, t.#deviceFeaturesSel) }],
    [REGISTER.DeviceFeaturesSel, { write: (t, v) => void (t.#deviceFeaturesSel = v) }],
    [REGISTER.DriverFeatures, { write: (t, v) => t.#setDriverFeatures(v) }],
    [REGISTER.DriverFeaturesSel, { write: (t, v) => void (t.#driverFeaturesSel = v) }],
    [REGISTER.QueueSel, { write: (t, v) => void (t.#queueSel = v) }],
    [REGISTER.QueueNumMax, { read: (t) => t.device.queueSizes[t.#queueSel] ?? 0 }],
    [REGISTER.QueueNum, { write: (t, v) => t.#setUp((queue) => void (queue.size = v)) }],
    [
      REGISTER.QueueReady,
      { read: (t) => Number(t.#queues[t.#queueSel]?.ready ?? false), write: (t, v) => t.#setReady(v) },
    ],
    [REGISTER.QueueNotify, { write: (t, v) => t.kick(v) }],
    [REGISTER.InterruptStatus, { read: (t) => t.#interruptStatus.load() }],
    [REGISTER.InterruptACK, { write: (t, v) => void t.#interruptStatus.clear(v) }],
    [REGISTER.Status, { read: (t) => t.#status, write: (t, v) => t.#setStatus(v) }],
    [REGISTER.QueueDescLow, { write: (t, v) => t.#setUp((queue) => void (queue.desc[0] = v)) }],
    [REGISTER.QueueDescHigh, { write: (t, v) => t.#setUp((queue) => void (queue.desc[1] = v)) }],
    [REGISTER.QueueDriverLow, { write: (t, v) => t.#setUp((queue) => void (queue.driver[0] = v)) }],
    [REGISTER.QueueDriverHigh, { write: (t, v) => t.#setUp((queue) => void (queue.driver[1] = v)) }],
    [REGISTER.QueueDeviceLow, { write: (t, v) => t.#setUp((queue) => void (queue.device[0] = v)) }],
    [REGISTER.QueueDeviceHigh, { write: (t, v) => t.#setUp((queue) => void (queue.device[1] = v)) }],
    [REGISTER.SHMLenLow, { read: () => NO_REGION }],
    [REGISTER.SHMLenHigh, { read: () => NO_REGION }],
    [REGISTER.SHMBaseLow, { read: () => NO_REGION }],
    [REGISTER.SHMBaseHigh, { read: () => NO_REGION }],
    [REGISTER.ConfigGeneration, { read: (t) => t.device.config?.generation ?? 0 }],
  ]);

  read(offset: number, data: Uint8Array): void {
    if (offset >= REGISTER.Config) {
      data.fill(0);
      this.device.config?.read(offset - REGISTER.Config, data);
      return;
    }
    // §4.2.2.2: registers are 32 bits wide and aligned; anything else reads 0.
    const value = data.length === 4 ? (MmioTransport.#registers.get(offset)?.read?.(this) ?? 0) : 0;
    data.fill(0);
    if (data.length === 4) view(data).setUint32(0, value, true);
  }

  /** A promise when the driver must wait: for the end of a reset. */
  write(offset: number, data: Uint8Array): void | Promise<void> {
    // Another vCPU's access while a reset waits for I/O in flight: the device is nobody's.
    if (this.#resetting) return offset === REGISTER.Status ? this.#resetting : undefined;
    if (offset >= REGISTER.Config) {
      this.#contain(() => this.#writeConfig(offset - REGISTER.Config, data));
      return undefined;
    }
    if (data.length !== 4) return undefined;
    return MmioTransport.#registers.get(offset)?.write?.(this, view(data).getUint32(0, true));
  }

  /** The driver says that a queue has buffers. Early, late and wrong kicks mean nothing. */
  kick(index: number): void {
    const session = this.#session;
    if (!this.#running || !session?.queues[index]) return;
    session.publishing(() => this.#contain(() => this.device.kick(index)));
  }

  /** The end of the VM: as a reset by the driver, then the device gives back what it holds. */
  async close(): Promise<void> {
    await this.#reset();
    await this.device.close?.();
  }

  /** Whether requests are served: DRIVER_OK, and nothing went wrong. */
  get #running(): boolean {
    const stops = STATUS.NEEDS_RESET | STATUS.FAILED;
    return (this.#status & (STATUS.DRIVER_OK | stops)) === STATUS.DRIVER_OK;
  }

  #setDriverFeatures(value: number): void {
    // §3.1.1: after FEATURES_OK no new bits are accepted.
    if (this.#status & STATUS.FEATURES_OK || this.#driverFeaturesSel > 1) return;
    const shift = 32n * BigInt(this.#driverFeaturesSel);
    this.#driverFeatures = (this.#driverFeatures & ~(0xffff_ffffn << shift)) | (BigInt(value) << shift);
  }

  /** Changes the selected queue's set-up, which ends when it is ready. */
  #setUp(change: (queue: QueueSetup) => void): void {
    const queue = this.#queues[this.#queueSel];
    if (queue && !queue.ready && this.#mayConfigureQueues) change(queue);
  }

  #setReady(value: number): void | Promise<void> {
    const index = this.#queueSel;
    const queue = this.#queues[index];
    if (!queue) return undefined;
    if (value === 1 && this.#mayConfigureQueues) queue.ready = true;
    else if (value === 0) return this.#stopQueue(queue, index);
    return undefined;
  }

  /**
   * §4.2.2.1: nothing of a queue that is not ready may be touched. §4.2.2.2: the driver reads QueueReady back "to ensure
   * synchronization": it is 1 until the last buffer is the driver's again, and this write takes as long.
   */
  #stopQueue(queue: QueueSetup, index: number): void | Promise<void> {
    const session = this.#session;
    session?.stopQueue(index);
    const end = (): void => {
      queue.ready = false;
    };
    try {
      const pending = session?.queues[index] && this.device.stopQueue?.(index);
      if (pending) return pending.catch((error: unknown) => this.#options.onError(error)).then(end);
    } catch (error) {
      this.#options.onError(error);
    }
    end();
    return undefined;
  }

  /** §3.1.1: queues are set up between FEATURES_OK and DRIVER_OK. */
  get #mayConfigureQueues(): boolean {
    return (this.#status & ~STATUS.FAILED) === (STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK);
  }

  #setStatus(value: number): void | Promise<void> {
    if (value === 0) return this.#reset();
    // FAILED may come at any time; NEEDS_RESET is the device's own.
    const own = STATUS.FAILED | STATUS.NEEDS_RESET;
    this.#status |= value & STATUS.FAILED;
    const current = this.#status & ~own;
    const next = value & ~own;
    if (next === current || !isLegalStep(current, next)) return undefined;
    if (next & ~current & STATUS.FEATURES_OK && !this.#featuresMakeSense()) return undefined;
    this.#status |= next;
    if (next & ~current & STATUS.DRIVER_OK) this.#contain(() => this.#activate());
    return undefined;
  }

  /** §2.2.1 and §6.1: a part of what was offered, with VERSION_1. */
  #featuresMakeSense(): boolean {
    const features = this.#driverFeatures;
    if ((features & ~this.#offered) !== 0n || !(features & F.VERSION_1)) return false;
    return this.device.acceptsFeatures?.(features) ?? true;
  }

  #activate(): void {
    const features = this.#driverFeatures;
    const flags = {
      indirect: (features & F.INDIRECT_DESC) !== 0n,
      eventIdx: (features & F.EVENT_IDX) !== 0n,
    };
    const queues = this.#queues.map((setup, index) => {
      if (!setup.ready) return undefined;
      const most = this.device.queueSizes[index]!;
      if (setup.size > most) {
        throw new GuestFault(`queue ${index} of ${setup.size} entries, ${most} at most`, 'virtio 1.2 §4.2.2');
      }
      return new Queue(layoutOf(setup), this.#options.memory, flags);
    });
    this.#session = new ActiveSession(features, queues, {
      interrupt: () => this.#interrupt(INT.VRING),
      kick: (index) => this.kick(index),
      contain: (action) => {
        if (this.#running) this.#contain(action);
      },
    });
    this.device.activate(this.#session);
  }

  #reset(): void | Promise<void> {
    if (this.#resetting) return this.#resetting;
    const session = this.#session;
    this.#session = undefined;
    session?.end();
    const pending = session && this.#resetDevice();
    if (!pending) {
      this.#clear();
      return undefined;
    }
    this.#resetting = pending
      .catch((error: unknown) => this.#options.onError(error))
      .then(() => {
        this.#resetting = undefined;
        this.#clear();
      });
    return this.#resetting;
  }

  #resetDevice(): void | Promise<void> {
    try {
      return this.device.reset();
    } catch (error) {
      this.#options.onError(error);
      return undefined;
    }
  }

  /** §4.2.2.1: what reads 0 after a reset. */
  #clear(): void {
    this.#status = 0;
    this.#driverFeatures = 0n;
    this.#deviceFeaturesSel = this.#driverFeaturesSel = this.#queueSel = 0;
    this.#queues = this.device.queueSizes.map(emptyQueue);
    this.#interruptStatus.store(0);
  }

  #writeConfig(offset: number, data: Uint8Array): void {
    const size = this.device.config?.size ?? 0;
    if (offset + data.length <= size) this.device.writeConfig?.(offset, data);
  }

  #configChanged(): void {
    if (this.#status & STATUS.DRIVER_OK) this.#interrupt(INT.CONFIG);
  }

  #interrupt(cause: number): void {
    // The bit first: the handler reads it, acknowledges it, and looks at the rings only then.
    this.#interruptStatus.or(cause);
    this.#options.irq.raise();
  }

  #contain(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof GuestFault)) this.#options.onError(error);
      else {
        this.faults += 1;
        this.#status |= STATUS.NEEDS_RESET;
        // §2.1.2: a driver that is running must be told.
        if (this.#status & STATUS.DRIVER_OK) this.#interrupt(INT.CONFIG);
        this.#options.onFault(error);
      }
    }
  }
}

/** 32 bits of the feature bits; there are two such halves. */
const half = (features: bigint, select: number): number =>
  select > 1 ? 0 : Number((features >> (32n * BigInt(select))) & 0xffff_ffffn);

const view = (data: Uint8Array): DataView => new DataView(data.buffer, data.byteOffset, data.length);
