/**
 * The wire to the guest: one end of a virtual Ethernet cable, with the gateway's card on it. Frames that the guest has no room
 * for are refused, and whoever can wait is told when there is room again.
 * Runs on: main.
 */
import type { Receive, VnetHeader } from '../../devices/net/backend.js';
import { BROADCAST, ETHERNET_HEADER, isGroup, type Mac, writeEthernet } from './ethernet.js';

export interface LinkStats {
  /** From the guest. */
  framesIn: number;
  bytesIn: number;
  /** Frames from the guest that no one here could make sense of, or that claimed an address that is not the guest's. */
  dropped: number;
  framesOut: number;
  bytesOut: number;
  /** Frames to the guest that it had no room for and that no one repeats. */
  refused: number;
}

export class Link {
  /** The gateway's hardware address. */
  readonly mac: Mac;
  readonly stats: LinkStats = {
    framesIn: 0,
    bytesIn: 0,
    dropped: 0,
    framesOut: 0,
    bytesOut: 0,
    refused: 0,
  };
  #receive: Receive | undefined;

  constructor(mac: Mac) {
    this.mac = mac;
  }

  attach(receive: Receive): void {
    this.#receive = receive;
  }

  detach(): void {
    this.#receive = undefined;
  }

  /** Whether a frame is for this end: to the gateway's card, or to a group. Counts it. */
  accepts(frame: Uint8Array): boolean {
    this.stats.framesIn += 1;
    this.stats.bytesIn += frame.length;
    const fromGroup = (frame[6]! & 1) === 1;
    if (frame.length < ETHERNET_HEADER || fromGroup || !(isGroup(frame) || this.#isOurs(frame))) {
      this.stats.dropped += 1;
      return false;
    }
    return true;
  }

  /** Whether a frame goes to the gateway's card: it starts with the destination. */
  #isOurs(frame: Uint8Array): boolean {
    for (let index = 0; index < this.mac.length; index += 1)
      if (frame[index] !== this.mac[index]) return false;
    return true;
  }

  /** Sends a frame whose first 14 bytes are still to be written. @returns false when the guest has no room */
  send(frame: Uint8Array, destination: Mac, type: number, header?: VnetHeader): boolean {
    writeEthernet(frame, destination, this.mac, type);
    // Lent for the call: the other side copies it.
    if (!this.#receive?.(frame, header)) return false;
    this.stats.framesOut += 1;
    this.stats.bytesOut += frame.length;
    return true;
  }

  broadcast(frame: Uint8Array, type: number): boolean {
    return this.send(frame, BROADCAST, type);
  }
}
