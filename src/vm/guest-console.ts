/**
 * The virtio console as an embedder holds it: a Duplex with a size.
 * Runs on: main.
 */
import type { ConsoleOutput } from '../devices/console/backend.js';
import { ConsoleDevice } from '../devices/console/device.js';
import { ConsoleStream } from './console-stream.js';

/** `vm.console`: what the guest writes to /dev/hvc0 is read here, and the other way round. */
export class GuestConsole extends ConsoleStream {
  /** The virtio device behind it. */
  readonly device: ConsoleDevice;

  constructor(name: string) {
    const output: ConsoleOutput = { write: (bytes) => this.deliver(bytes), onDrain: undefined };
    const device = new ConsoleDevice(name, output);
    super(device);
    this.device = device;
    this.onDrain = () => output.onDrain?.();
  }

  /** Tells the guest its terminal's size (SIGWINCH there). @throws RangeError unless both are 1 to 65535 */
  resize(columns: number, rows: number): void {
    for (const value of [columns, rows]) {
      if (!Number.isInteger(value) || value < 1 || value > 65535)
        throw new RangeError(`terminal size ${columns}x${rows}`);
    }
    this.device.resize(columns, rows);
  }
}
