/** A network for a real guest that loses, delays, repeats and reorders frames between it and another network, both ways. */
import type { NetBackend, Receive, VnetHeader } from '../../../src/devices/net/backend.js';
import { Random } from '../random.js';
import { LossyWire, type WireFaults } from './lossy-wire.js';

interface Carried {
  readonly frame: Uint8Array;
  readonly header: VnetHeader | undefined;
}

const clock = {
  after(ms: number, action: () => void) {
    const timer = setTimeout(action, ms);
    return () => clearTimeout(timer);
  },
};

export class LossyNetwork implements NetBackend {
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
  readonly offloads: boolean | undefined;
  readonly toGuest: LossyWire<Carried>;
  readonly fromGuest: LossyWire<Carried>;
  readonly #inner: NetBackend;
  #receive: Receive = () => false;

  constructor(inner: NetBackend, faults: WireFaults, seed: number) {
    this.#inner = inner;
    this.mac = inner.mac;
    this.mtu = inner.mtu;
    this.offloads = inner.offloads;
    const random = new Random(seed);
    this.fromGuest = new LossyWire<Carried>(
      clock,
      random,
      faults,
      ({ frame, header }) => void inner.send(frame, header),
    );
    this.toGuest = new LossyWire<Carried>(clock, random, faults, ({ frame, header }) => {
      // A guest without room loses it as well.
      this.#receive(frame, header);
    });
  }

  send(frame: Uint8Array, header?: VnetHeader): void {
    this.fromGuest.send({ frame, header });
  }

  onReceive(receive: Receive): void {
    this.#receive = receive;
    this.#inner.onReceive((frame, header) => this.toGuest.send({ frame: frame.slice(), header }));
  }

  close(): void | Promise<void> {
    return this.#inner.close?.();
  }
}
