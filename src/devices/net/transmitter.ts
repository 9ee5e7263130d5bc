/**
 * A transmit queue (virtio 1.2 §5.1.6.2): each chain is a frame behind its header, sent within the call, in the order of the
 * queue. Frames stay in it while the back end is full or the rate limit has been reached.
 * Runs on: main.
 */
import type { Chain } from '../../virtio/queue.js';
import { lengthOf } from '../pieces.js';
import type { Sent } from './backend.js';
import { Pacer } from './pacer.js';
import { MAX_TURN_BYTES, MAX_TURN_FRAMES, type NetPort, type PortQueue } from './port.js';
import { ETHERNET, HEADER, MAX_FRAME } from './protocol.js';

export class Transmitter {
  readonly #pacer: Pacer;
  #full = false;

  constructor(
    private readonly port: NetPort,
    private readonly own: PortQueue,
  ) {
    this.#pacer = new Pacer(port.txLimiter, port.session, () => this.kick());
  }

  /** Sends what waits. */
  kick(): void {
    this.#drain();
    if (this.own.queue.publish()) this.port.session.interrupt();
  }

  /** The back end takes frames again. */
  writable(): void {
    this.#full = false;
    this.kick();
  }

  stop(): void {
    this.#pacer.stop();
  }

  #drain(): void {
    if (this.#full) return;
    const { queue, index } = this.own;
    let frames = 0;
    let bytes = 0;
    do {
      while (!this.#pacer.mustWait()) {
        const chain = queue.pop();
        if (!chain) break;
        const length = lengthOf(chain.readable);
        if (!this.#serve(chain, length)) {
          queue.unpop();
          return;
        }
        queue.push(chain, 0);
        frames += 1;
        bytes += Math.min(length, MAX_FRAME);
        if (frames >= MAX_TURN_FRAMES || bytes >= MAX_TURN_BYTES) {
          this.port.session.kickLater(index);
          return;
        }
      }
    } while (!this.#pacer.mustWait() && queue.rearm());
  }

  /** @returns false when the back end is full */
  #serve({ readable, writable }: Chain, length: number): boolean {
    const { stats, backend, linkUp, failed } = this.port;
    if (length < HEADER.SIZE + ETHERNET || length > HEADER.SIZE + MAX_FRAME || writable.length > 0) {
      stats.malformed += 1;
      return true;
    }
    if (!linkUp()) {
      stats.sendDropped += 1;
      return true;
    }
    const bytes = length - HEADER.SIZE;
    let sent: Sent;
    try {
      sent = backend.send(this.own.pair, readable);
    } catch (error) {
      stats.sendDropped += 1;
      failed(error);
      return true;
    }
    if (sent === 'full') {
      this.#full = true;
      return false;
    }
    this.#pacer.passed(bytes);
    if (sent === 'dropped') {
      stats.malformed += 1;
      return true;
    }
    stats.sent += 1;
    stats.sentBytes += bytes;
    return true;
  }
}
