/**
 * Console device (virtio 1.2 §5.3) with one port, which Linux calls hvc0: no MULTIPORT. Nothing is kept here: input waits
 * with its writer until the driver has room, output waits in the driver's queue until its reader has.
 * Runs on: main.
 */
import { ConfigSpace } from '../../virtio/config-space.js';
import type { Session, VirtioDevice } from '../../virtio/device.js';
import type { Chain, Queue } from '../../virtio/queue.js';
import type { ConsoleOutput } from './backend.js';

const DEVICE_ID = 3; // §5.3.1
const RECEIVEQ = 0; // §5.3.2
const TRANSMITQ = 1;
const QUEUE_SIZE = 64;
/** Feature bits, §5.3.3. */
export const F = { SIZE: 1n << 0n, EMERG_WRITE: 1n << 2n } as const;
/** struct virtio_console_config, §5.3.4. */
export const CONFIG = { cols: 0, rows: 2, max_nr_ports: 4, emerg_wr: 8, SIZE: 12 } as const;
/** Output taken in one turn of the event loop, bytes; a piece counts as 256 at least. */
const MAX_TURN = 64 * 1024;
const LEAST_COST = 256;
/** Input nobody answers is announced again after this long, ms, and then after twice as long each time, up to the limit. */
const NUDGE_MS = 100;
const LAST_NUDGE_MS = 30_000;
/** Bytes handed on at once. */
const MAX_PIECE = 16 * 1024;

export class ConsoleDevice implements VirtioDevice {
  readonly type = DEVICE_ID;
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE];
  readonly features = F.SIZE | F.EMERG_WRITE;
  readonly config: ConfigSpace;
  readonly stats = { received: 0, sent: 0 };
  /** Called when `receive` may take bytes again. */
  onRoom: (() => void) | undefined;
  #session: Session | undefined;
  #full = false;
  #sending: Output | undefined;
  #nudge: NodeJS.Timeout | undefined;

  /** @param size what the driver is told before the first `resize` */
  constructor(
    readonly name: string,
    private readonly output: ConsoleOutput,
    { columns, rows }: { readonly columns: number; readonly rows: number } = { columns: 80, rows: 25 },
  ) {
    this.config = new ConfigSpace(CONFIG.SIZE, (view) => {
      view.setUint16(CONFIG.cols, columns, true);
      view.setUint16(CONFIG.rows, rows, true);
      view.setUint32(CONFIG.max_nr_ports, 1, true);
    });
    output.onDrain = () => {
      this.#full = false;
      this.#session?.run(() => this.#transmit());
    };
  }

  activate(session: Session): void {
    this.#session = session;
  }

  kick(index: number): void {
    if (index === RECEIVEQ) this.onRoom?.();
    else if (index === TRANSMITQ) this.#transmit();
  }

  reset(): void {
    this.#session = undefined;
    this.#sending = undefined;
    this.#answered();
  }

  /** §5.3.5.1 allows it at any time, also before the driver has set up the device. */
  writeConfig(offset: number, data: Uint8Array): void {
    if (offset === CONFIG.emerg_wr) this.output.write(data.subarray(0, 1));
  }

  /** The terminal's size changed. @param columns 1 to 65535, as `rows` */
  resize(columns: number, rows: number): void {
    this.config.update((view) => {
      view.setUint16(CONFIG.cols, columns, true);
      view.setUint16(CONFIG.rows, rows, true);
    });
  }

  /** Input for the guest. @returns how many bytes were taken; for the rest wait for `onRoom` */
  receive(bytes: Uint8Array): number {
    let taken = 0;
    this.#session?.run(() => {
      taken = this.#fill(bytes);
    });
    return taken;
  }

  /** Puts input into the buffers the driver posted: each is used as soon as it has something in it. */
  #fill(bytes: Uint8Array): number {
    const session = this.#session;
    const queue = session?.queues[RECEIVEQ];
    if (!session || !queue) return 0;
    let taken = 0;
    for (let budget = QUEUE_SIZE; taken < bytes.length && budget > 0; budget -= 1) {
      const chain = queue.pop() ?? (queue.rearm() ? queue.pop() : undefined);
      if (!chain) break;
      let written = 0;
      for (const buffer of chain.writable) {
        const part = bytes.subarray(taken + written, taken + written + buffer.length);
        buffer.set(part);
        written += part.length;
      }
      queue.push(chain, written);
      session.publishSoon(RECEIVEQ);
      taken += written;
    }
    this.stats.received += taken;
    if (taken > 0 && !this.#nudge) this.#nudgeAfter(NUDGE_MS, session);
    return taken;
  }

  /**
   * Linux posts its buffers before it can handle their interrupt (drivers/char/virtio_console.c, add_port): input that
   * comes in between lies there unnoticed. Until the guest says something, which is what guests do with input, the
   * interrupt is repeated; one too many does no harm.
   */
  #nudgeAfter(ms: number, session: Session): void {
    this.#nudge = setTimeout(() => {
      session.interrupt();
      if (ms * 2 <= LAST_NUDGE_MS) this.#nudgeAfter(ms * 2, session);
    }, ms);
    this.#nudge.unref();
  }

  #answered(): void {
    clearTimeout(this.#nudge);
    this.#nudge = undefined;
  }

  /**
   * Hands output on piece by piece, as much as its reader takes and one turn allows. A chain is given back when all of it
   * has gone: its descriptors may overlap, so what it says it holds is no measure of memory.
   */
  #transmit(): void {
    const session = this.#session;
    const queue = session?.queues[TRANSMITQ];
    if (!session || !queue) return;
    let cost = 0;
    while (!this.#full) {
      this.#sending ??= nextOutput(queue);
      if (!this.#sending) return;
      cost += Math.max(this.#send(this.#sending), LEAST_COST);
      if (this.#sending.index === this.#sending.chain.readable.length) {
        queue.push(this.#sending.chain, 0);
        session.publishSoon(TRANSMITQ);
        this.#sending = undefined;
      }
      if (cost >= MAX_TURN) {
        session.kickLater(TRANSMITQ);
        return;
      }
    }
  }

  /** One piece of a chain. @returns its bytes */
  #send(output: Output): number {
    const buffer = output.chain.readable[output.index];
    const piece = buffer?.subarray(output.offset, output.offset + MAX_PIECE);
    if (!buffer || !piece) return 0;
    if (piece.length > 0) this.#full = !this.output.write(piece);
    output.offset += piece.length;
    if (output.offset === buffer.length) {
      output.index += 1;
      output.offset = 0;
    }
    this.stats.sent += piece.length;
    this.#answered();
    return piece.length;
  }
}

/** A chain of output, and how far it has been handed on. */
interface Output {
  readonly chain: Chain;
  /** The buffer, and the place in it. */
  index: number;
  offset: number;
}

function nextOutput(queue: Queue): Output | undefined {
  const chain = queue.pop() ?? (queue.rearm() ? queue.pop() : undefined);
  return chain && { chain, index: 0, offset: 0 };
}
