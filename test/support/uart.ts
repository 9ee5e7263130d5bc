/** A serial port with a driver's hands on its registers. */
import { SerialPort } from '../../src/devices/legacy/serial.js';
import { PageModel } from './page-model.js';

export const COM1 = 0x3f8;

export class Uart {
  readonly port: SerialPort;
  readonly page: PageModel | undefined;
  /** Everything the port sent to the host. */
  output = '';
  interrupts = 0;
  /** Called after each piece of output. */
  onOutput: (() => void) | undefined;

  constructor({ page = false, holdInput = false } = {}) {
    this.page = page ? new PageModel() : undefined;
    this.port = new SerialPort({
      base: COM1,
      irq: { raise: () => void (this.interrupts += 1) },
      page: this.page,
      onOutput: (bytes) => {
        this.output += Buffer.from(bytes).toString('latin1');
        this.onOutput?.();
      },
      holdInput,
    });
  }

  /** As a guest does: the page answers what it can. */
  read(register: number): number {
    const answered = this.page?.read(COM1 + register);
    if (answered !== undefined) return answered;
    const data = new Uint8Array(1);
    this.port.read(register, data);
    return data[0]!;
  }
  write(register: number, value: number): void {
    if (this.page?.write(COM1 + register, value)) return;
    this.port.write(register, Uint8Array.of(value));
  }

  /** @returns how many bytes were taken */
  type(text: string): number {
    return this.port.receive(Buffer.from(text, 'latin1'));
  }
  /** Reads as long as data is ready, at most `limit` bytes. */
  drain(limit = 10_000): string {
    const LSR = 5;
    let text = '';
    while (text.length < limit && this.read(LSR) & 1) text += String.fromCharCode(this.read(0));
    return text;
  }
  /** Interrupts since the last call. */
  takeInterrupts(): number {
    const count = this.interrupts;
    this.interrupts = 0;
    return count;
  }
}
