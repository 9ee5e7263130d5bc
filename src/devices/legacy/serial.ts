/**
 * 16550A UART (PC16550D data sheet) as COM1 has it on a PC. A printk byte costs no round trip: LSR and THR are answered
 * by the vCPU thread from the register page; everything else, and those two when the page misses, comes here.
 *
 * Transmission takes no time: a byte written has left at once. Input the guest has not read stays here and then with the
 * host's writer; nothing is overrun.
 * Runs on: main.
 */
import type { BusDevice } from '../../bus/bus.js';
import type { ByteRing, RegisterPage, RegisterSlot, SharedWord } from '../../bus/register-page.js';
import type { Interrupt } from '../../irq/interrupt.js';
import { FCR, IER, IIR, LCR, LSR, MCR, MSR, REG } from './serial-registers.js';

export const SERIAL_PORTS = 8;
/** Receive FIFO, bytes; one without FIFOs. */
const FIFO = 16;
/** Characters in the FIFO that raise the interrupt, by FCR[7:6]. */
const TRIGGER = [1, 4, 8, 14] as const;
/** Input held for the guest beyond its FIFO, bytes; then the writer waits. */
const QUEUE = 4096;
/** Output the vCPU threads may have posted before main takes it, bytes. */
const RING = 64 * 1024;
/** How often one visit empties the ring: a guest that posts as fast as we take must not hold the event loop. */
const MOST_TAKES = 4;

export interface SerialOptions {
  readonly base: number; // first port
  readonly irq: Interrupt;
  readonly page?: RegisterPage | undefined;
  /** Output; valid only during the call. */
  readonly onOutput: (bytes: Uint8Array) => void;
  /**
   * Keep input back until the guest's driver is ready: it has enabled receive interrupts and asks for data (RTS). A driver
   * that starts empties the FIFO more than once, and what was typed or piped earlier would be lost. Off for guests that poll.
   */
  readonly holdInput: boolean;
}

export class SerialPort implements BusDevice {
  /** Called when `receive` takes bytes again. */
  onRoom: (() => void) | undefined;
  readonly #options: SerialOptions;
  readonly #lsr: SharedWord | undefined;
  readonly #thrSlot: RegisterSlot | undefined;
  readonly #ring: ByteRing | undefined;
  readonly #taken = new Uint8Array(RING);
  readonly #input: number[] = [];
  readonly #one = new Uint8Array(1);
  #divisor = 0x000c; // 9600 baud, what firmware leaves behind
  #ier = 0;
  #fcr = 0;
  #lcr = 0x03; // 8 data bits
  #mcr = MCR.OUT2;
  #scr = 0;
  /** "Transmitter empty" has not been told since the last byte was sent or the interrupt enabled. */
  #threPending = false;
  #raised = false;
  #open: boolean;
  #takeLater: NodeJS.Immediate | undefined;

  constructor(options: SerialOptions) {
    this.#options = options;
    this.#open = !options.holdInput;
    const { page, base } = options;
    if (!page) return;
    this.#lsr = page.word(LSR.THRE | LSR.TEMT);
    page.readWord('pio', base + REG.LSR, 1, this.#lsr).enabled = true;
    this.#ring = page.ring(RING);
    this.#ring.onBytes = () => this.#sent();
    this.#thrSlot = page.postByte('pio', base + REG.THR, this.#ring);
    this.#thrSlot.enabled = true;
  }

  /** Input for the guest. @returns how many bytes were taken; for the rest wait for `onRoom` */
  receive(bytes: Uint8Array): number {
    if (!this.#open) return 0;
    const count = Math.min(bytes.length, QUEUE - this.#input.length);
    for (let i = 0; i < count; i += 1) this.#input.push(bytes[i]!);
    this.#update();
    return count;
  }

  read(offset: number, data: Uint8Array): void {
    this.#sent();
    data.fill(0);
    data[0] = this.#read(offset);
    this.#update();
  }

  write(offset: number, data: Uint8Array): void {
    this.#sent();
    this.#write(offset, data[0]!);
    this.#update();
  }

  #read(offset: number): number {
    const dlab = (this.#lcr & LCR.DLAB) !== 0;
    switch (offset) {
      case REG.RBR:
        return dlab ? this.#divisor & 0xff : this.#takeInput();
      case REG.IER:
        return dlab ? this.#divisor >>> 8 : this.#ier;
      case REG.IIR: {
        const cause = this.#cause();
        if (cause === IIR.THRI) this.#threPending = false; // §8.5: reading IIR clears it
        return cause | (this.#fcr & FCR.ENABLE ? IIR.FIFOS : 0);
      }
      case REG.LCR:
        return this.#lcr;
      case REG.MCR:
        return this.#mcr;
      case REG.LSR:
        return this.#lineStatus();
      case REG.MSR:
        return this.#modemStatus();
      default:
        return this.#scr;
    }
  }

  #write(offset: number, value: number): void {
    const dlab = (this.#lcr & LCR.DLAB) !== 0;
    switch (offset) {
      case REG.THR:
        if (dlab) this.#divisor = (this.#divisor & 0xff00) | value;
        else this.#transmit(value);
        return;
      case REG.IER:
        if (dlab) {
          this.#divisor = (this.#divisor & 0xff) | (value << 8);
          return;
        }
        // Enabling it while the transmitter is empty raises it (§8.7 and every PC's behaviour).
        if (value & IER.THRI && !(this.#ier & IER.THRI)) this.#threPending = true;
        this.#ier = value & IER.ALL;
        this.#openWhenReady();
        return;
      case REG.FCR:
        // Changing the enable bit empties the FIFOs too (§8.4). Input beyond the FIFO is still "on the wire".
        if (value & FCR.CLEAR_RX || (value ^ this.#fcr) & FCR.ENABLE) this.#clearFifo();
        this.#fcr = value & (FCR.ENABLE | 0xc0);
        return;
      case REG.LCR:
        this.#lcr = value;
        this.#switchPage();
        return;
      case REG.MCR:
        this.#mcr = value & MCR.ALL;
        this.#switchPage();
        this.#openWhenReady();
        return;
      case REG.SCR:
        this.#scr = value;
        return;
      default: // LSR and MSR are read-only
    }
  }

  /**
   * RTS counts because it comes last. Linux (8250_port.c) enables all interrupts for a moment while it finds out what chip
   * this is, and later enables receive interrupts before it has switched the FIFOs on, which empties them.
   */
  #openWhenReady(): void {
    if (this.#open || !(this.#ier & IER.RDI) || !(this.#mcr & MCR.RTS) || this.#mcr & MCR.LOOP) return;
    this.#open = true;
    this.onRoom?.();
  }

  #transmit(value: number): void {
    this.#threPending = true;
    if (this.#mcr & MCR.LOOP) {
      if (this.#input.length < QUEUE) this.#input.push(value);
      return;
    }
    this.#one[0] = value;
    this.#options.onOutput(this.#one);
  }

  /** Takes what the vCPU threads have posted: these bytes come before anything written by the ordinary way. */
  #sent(): void {
    if (!this.#ring) return;
    let takes = 0;
    for (; takes < MOST_TAKES; takes += 1) {
      const count = this.#ring.take(this.#taken);
      if (count === 0) break;
      this.#options.onOutput(this.#taken.subarray(0, count));
    }
    if (takes === 0) return;
    // Not yet seen empty: the ring will not tell again by itself.
    if (takes === MOST_TAKES) this.#takeLater ??= setImmediate(() => this.#goOn());
    this.#threPending = true;
    this.#update();
  }

  #goOn(): void {
    this.#takeLater = undefined;
    this.#sent();
  }

  #takeInput(): number {
    const value = this.#input.shift() ?? 0;
    // Told once there is room for a good part, not at every byte.
    if (this.#input.length === QUEUE / 2 || this.#input.length === 0) this.onRoom?.();
    return value;
  }

  #clearFifo(): void {
    if (this.#mcr & MCR.LOOP || this.#open) this.#input.splice(0, this.#fcr & FCR.ENABLE ? FIFO : 1);
    // The line falls with the FIFO. What is still on the wire arrives anew, with an edge of its own.
    this.#raised = false;
    // A writer that waits for an empty queue must not wait for a read that may never come.
    this.onRoom?.();
  }

  #lineStatus(): number {
    return LSR.THRE | LSR.TEMT | (this.#input.length > 0 ? LSR.DR : 0);
  }

  /** §8.8: in loopback the modem lines are the modem outputs; otherwise a terminal is attached and ready. */
  #modemStatus(): number {
    if (!(this.#mcr & MCR.LOOP)) return MSR.CTS | MSR.DSR | MSR.DCD;
    const bit = (from: number, to: number): number => (this.#mcr & from ? to : 0);
    return bit(MCR.RTS, MSR.CTS) | bit(MCR.DTR, MSR.DSR) | bit(MCR.OUT1, MSR.RI) | bit(MCR.OUT2, MSR.DCD);
  }

  /** The highest pending and enabled cause, §8.5 table III. */
  #cause(): number {
    if (this.#ier & IER.RDI && this.#input.length > 0) {
      const trigger = this.#fcr & FCR.ENABLE ? TRIGGER[this.#fcr >>> 6]! : 1;
      // Below the trigger level the character timeout tells: time passes at once here.
      return this.#input.length >= trigger ? IIR.RDI : IIR.TIMEOUT;
    }
    if (this.#ier & IER.THRI && this.#threPending) return IIR.THRI;
    return IIR.NONE;
  }

  /**
   * Keeps the shared line status current. The interrupt line is high while any cause is pending; only its rise reaches
   * the guest, so a handler must ask IIR until it says "none", as every driver does.
   */
  #update(): void {
    this.#lsr?.store(this.#lineStatus());
    // On a PC OUT2 gates the line; in loopback interrupts still work (§8.6), so only OUT2 counts.
    const connected = (this.#mcr & (MCR.OUT2 | MCR.LOOP)) !== 0;
    const high = connected && this.#cause() !== IIR.NONE;
    if (high && !this.#raised) this.#options.irq.raise();
    this.#raised = high;
  }

  /** The transmit register is on the page only while it is one, and while its bytes leave the chip. */
  #switchPage(): void {
    if (this.#thrSlot) this.#thrSlot.enabled = !(this.#lcr & LCR.DLAB) && !(this.#mcr & MCR.LOOP);
  }
}
