/**
 * Another back end, with every frame that passes written to a capture file: as the guest sent it, or was given it.
 * Runs on: main.
 */

import { lengthOf, slicePieces } from '../base/pieces.js';
import type { Sent, VnetBackend, VnetGuest } from '../devices/net/backend.js';
import { HEADER } from '../devices/net/protocol.js';
import type { Direction, PcapFile } from './pcap-file.js';

export class RecordedNetwork implements VnetBackend {
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
  readonly pairs: number;
  readonly offloads: bigint;
  readonly #card: number;

  /** @param name of the card, in the file */
  constructor(
    private readonly inner: VnetBackend,
    private readonly file: PcapFile,
    name: string,
  ) {
    this.mac = inner.mac;
    this.mtu = inner.mtu;
    this.pairs = inner.pairs;
    this.offloads = inner.offloads;
    this.#card = file.addInterface(name);
  }

  attach(guest: VnetGuest): void {
    this.inner.attach(guest);
  }

  setOffloads(features: bigint): void {
    this.inner.setOffloads(features);
  }

  setPairs(pairs: number): void {
    this.inner.setPairs(pairs);
  }

  send(pair: number, pieces: readonly Uint8Array[]): Sent {
    const sent = this.inner.send(pair, pieces);
    if (sent === 'sent') this.#record('sent', pieces, lengthOf(pieces));
    return sent;
  }

  receive(pair: number, into: readonly Uint8Array[]): number {
    const length = this.inner.receive(pair, into);
    if (length > HEADER.SIZE) this.#record('received', into, length);
    return length;
  }

  expected(pair: number): number {
    return this.inner.expected(pair);
  }

  async close(): Promise<void> {
    await this.inner.close?.();
    await this.file.removeInterface();
  }

  #record(direction: Direction, pieces: readonly Uint8Array[], length: number): void {
    const frame = new Uint8Array(length - HEADER.SIZE);
    let done = 0;
    for (const piece of slicePieces(pieces, HEADER.SIZE, frame.length)) {
      frame.set(piece, done);
      done += piece.length;
    }
    this.file.record(this.#card, direction, frame);
  }
}
