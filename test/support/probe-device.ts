/** A virtio device that records what its transport does with it, and does what a test tells it. */
import { ConfigSpace } from '../../src/virtio/config-space.js';
import type { Session, VirtioDevice } from '../../src/virtio/device.js';

export interface ProbeOptions {
  readonly name?: string;
  readonly type?: number;
  readonly queueSizes?: readonly number[];
  readonly features?: bigint;
  /** Bytes of configuration; none for a device without. */
  readonly config?: number;
}

export class ProbeDevice implements VirtioDevice {
  readonly name: string;
  readonly type: number;
  readonly queueSizes: readonly number[];
  readonly features: bigint;
  declare readonly config?: ConfigSpace;
  /** `activate`, `kick 0`, `reset`, `write 4: 1,2`, `close` in the order in which they came. */
  readonly calls: string[] = [];
  session: Session | undefined;
  onActivate: (session: Session) => void = () => {};
  onKick: (index: number, session: Session) => void = () => {};
  onReset: () => void | Promise<void> = () => {};
  onWriteConfig: () => void = () => {};
  acceptsFeatures: (features: bigint) => boolean = () => true;

  constructor({
    name = 'probe',
    type = 42,
    queueSizes = [8, 16],
    features = 0b101n,
    config = 0,
  }: ProbeOptions = {}) {
    this.name = name;
    this.type = type;
    this.queueSizes = queueSizes;
    this.features = features;
    if (config > 0) this.config = new ConfigSpace(config, (view) => view.setUint8(0, 0x11));
  }

  activate(session: Session): void {
    this.calls.push('activate');
    this.session = session;
    this.onActivate(session);
  }
  kick(index: number): void {
    this.calls.push(`kick ${index}`);
    this.onKick(index, this.session!);
  }
  reset(): void | Promise<void> {
    this.calls.push('reset');
    this.session = undefined;
    return this.onReset();
  }
  writeConfig(offset: number, data: Uint8Array): void {
    this.calls.push(`write ${offset}: ${data}`);
    this.onWriteConfig();
  }
  close(): void {
    this.calls.push('close');
  }
}

/** Gives every chain back, as devices without a meaning do. */
export function echo(index: number, session: Session): void {
  if (session.queues[index]!.drain(() => 0).interrupt) session.interrupt();
}
