/**
 * Packets of the guest that are for nobody, each to be answered by RST: a limited number of answers waits for room in the rx queue.
 * Runs on: main.
 */
import type { Chain } from '../../virtio/queue.js';
import { type PacketHeader, roomIn, writeHeader } from './packet.js';
import { OP } from './protocol.js';

/** That may wait; beyond it the tx queue does (virtio 1.2 §5.10.6.1). */
const MOST = 256;

/** A packet of the guest, as far as an answer names it. */
export type Unwanted = Pick<PacketHeader, 'srcCid' | 'dstCid' | 'srcPort' | 'dstPort' | 'type'>;

export class Refusals {
  readonly #waiting: Unwanted[] = [];

  get size(): number {
    return this.#waiting.length;
  }
  /** No further packet may be looked at. */
  get isFull(): boolean {
    return this.size >= MOST;
  }
  /** Once it was full: whether it is worth to go on. */
  get hasRoom(): boolean {
    return this.size <= MOST / 2;
  }

  add({ srcCid, dstCid, srcPort, dstPort, type }: Unwanted): void {
    this.#waiting.push({ srcCid, dstCid, srcPort, dstPort, type });
  }

  clear(): void {
    this.#waiting.length = 0;
  }

  /** Puts the next answer into a buffer of the rx queue. @returns its bytes; 0: there is none */
  fill(chain: Chain): number {
    const unwanted = this.#waiting.shift();
    if (!unwanted) return 0;
    roomIn(chain);
    return writeHeader(chain, {
      srcCid: unwanted.dstCid,
      dstCid: unwanted.srcCid,
      srcPort: unwanted.dstPort,
      dstPort: unwanted.srcPort,
      type: unwanted.type,
      op: OP.RST,
    });
  }
}
