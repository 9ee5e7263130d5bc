/**
 * A switch inside this process: guests whose cards have a port on the same hub see each other, and nobody else. It learns which
 * addresses are behind which port; frames for an address that it does not know go to all.
 *
 * Guests need not trust each other: nobody gets what is for another's card by pretending to be it, and one that does not
 * receive only loses what is for itself.
 * Runs on: main.
 */

import { ConfigError } from '../base/errors.js';
import type { NetBackend, Receive, VnetHeader } from '../devices/net/backend.js';
import { formatMac, macNumber, parseMac } from '../devices/net/mac.js';
import { makeMac } from './make-mac.js';

/** Frames that wait for a guest that has no room, bytes; what comes then is dropped. */
const MAX_WAITING = 4 * 2 ** 20;
/** Addresses kept; an attacker makes up more. */
const MAX_LEARNT = 4096;

/** Counters of a hub. */
export interface HubStats {
  /** Frames handed to a guest. */
  forwarded: number;
  /** Frames for a guest that had no room. */
  dropped: number;
  /** Frames that came with another port's address. */
  forged: number;
}

/** A switch for machines of this process: `net: hub.port()` in the configuration of each. */
export class Hub {
  /** What it did so far. */
  readonly stats: HubStats = { forwarded: 0, dropped: 0, forged: 0 };
  readonly #ports = new Set<HubPort>();
  /** Address → the port whose card has it; for good. */
  readonly #owners = new Map<number, HubPort>();
  /** Address → the port it was last seen at: of a bridge in a guest, or a card that was given another address. */
  readonly #learnt = new Map<number, HubPort>();

  /**
   * A new port, for one network card. With `mac` the card has that address, else one of its own; no other port may use it.
   * @throws ConfigError when the address is none, or another port's
   */
  port(mac?: string): NetBackend {
    const address = mac === undefined ? makeMac() : parseMac(mac);
    if (!address) throw new ConfigError([{ path: 'mac', message: `"${mac}" is not the address of a card` }]);
    const number = macNumber(address);
    if (this.#owners.has(number)) {
      throw new ConfigError([{ path: 'mac', message: `${formatMac(address)} is another port's` }]);
    }
    const port = new HubPort(formatMac(address), {
      send: (frame, header) => this.#forward(port, { frame, header }),
      close: () => {
        this.#ports.delete(port);
        this.#owners.delete(number);
        for (const [learnt, at] of this.#learnt) if (at === port) this.#learnt.delete(learnt);
      },
    });
    this.#ports.add(port);
    this.#owners.set(number, port);
    return port;
  }

  #forward(from: HubPort, message: Message): void {
    const { frame } = message;
    const source = macNumber(frame, 6);
    const owner = this.#owners.get(source);
    if (owner ? owner !== from : (frame[6]! & 1) !== 0) {
      this.stats.forged += 1;
      return;
    }
    if (!owner) this.#learn(source, from);
    const destination = macNumber(frame);
    const known =
      frame[0]! & 1 ? undefined : (this.#owners.get(destination) ?? this.#learnt.get(destination));
    if (known) {
      if (known !== from) this.#deliver(known, message);
    } else for (const port of this.#ports) if (port !== from) this.#deliver(port, message);
  }

  #learn(address: number, port: HubPort): void {
    if (this.#learnt.get(address) === port) return;
    // The oldest goes: frames for it go to all ports again.
    if (this.#learnt.size >= MAX_LEARNT) this.#learnt.delete(this.#learnt.keys().next().value!);
    this.#learnt.delete(address);
    this.#learnt.set(address, port);
  }

  #deliver(port: HubPort, message: Message): void {
    if (port.deliver(message)) this.stats.forwarded += 1;
    else this.stats.dropped += 1;
  }
}

/** A frame, and what it leaves to be done: nobody changes it, for it may be for many. */
interface Message {
  readonly frame: Uint8Array;
  readonly header: VnetHeader | undefined;
}

interface PortHooks {
  readonly send: (frame: Uint8Array, header?: VnetHeader) => void;
  readonly close: () => void;
}

class HubPort implements NetBackend {
  /** Between guests nothing needs a checksum, and nothing need be cut. */
  readonly offloads = true;
  #receive: Receive = () => false;
  /** In order; the guest has no room. */
  readonly #waiting: Message[] = [];
  #waitingBytes = 0;

  constructor(
    readonly mac: string,
    private readonly hooks: PortHooks,
  ) {}

  send(frame: Uint8Array, header?: VnetHeader): void {
    this.hooks.send(frame, header);
  }

  onReceive(receive: Receive): void {
    this.#receive = receive;
  }

  room(): void {
    let taken = 0;
    for (const { frame, header } of this.#waiting) {
      if (!this.#receive(frame, header)) break;
      taken += 1;
      this.#waitingBytes -= frame.length;
    }
    this.#waiting.splice(0, taken);
  }

  close(): void {
    this.#receive = () => false;
    this.#waiting.length = this.#waitingBytes = 0;
    this.hooks.close();
  }

  /** @returns false when the frame was dropped */
  deliver(message: Message): boolean {
    const { frame, header } = message;
    if (this.#waiting.length === 0 && this.#receive(frame, header)) return true;
    if (this.#waitingBytes + frame.length > MAX_WAITING) return false;
    this.#waiting.push(message);
    this.#waitingBytes += frame.length;
    return true;
  }
}
