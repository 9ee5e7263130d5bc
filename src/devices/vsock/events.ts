/**
 * The event queue: tells the guest that its connections are gone (virtio 1.2 §5.10.6.7), once it has a buffer for it.
 * Runs on: main.
 */
import type { Session } from '../../virtio/device.js';
import { EVENT, QUEUE } from './protocol.js';

export class Events {
  /** Said again and again it is one event. */
  transportReset = false;

  /** Tells what there is to tell. */
  tell(session: Session): void {
    const queue = session.queues[QUEUE.EVENT];
    if (!queue || !this.transportReset) return;
    const chain = queue.pop() ?? (queue.rearm() ? queue.pop() : undefined);
    if (!chain) return;
    this.transportReset = false;
    let written = 0;
    for (const piece of chain.writable) {
      const part = piece.subarray(0, EVENT.SIZE - written);
      part.fill(EVENT.TRANSPORT_RESET);
      written += part.length;
    }
    queue.push(chain, written);
    session.publishSoon(QUEUE.EVENT);
  }
}
