/**
 * ICMP (RFC 792) and ICMPv6 (RFC 4443): echo requests to our own addresses are answered, and what cannot be delivered is
 * answered with an error, no more than a few a second.
 * Runs on: main.
 */
import { type Address, isMulticast, isV6 } from './address.js';
import { addWords, finish, pseudoHeader } from './checksum.js';
import type { Clock } from './clock.js';
import type { IpOutput } from './ip-output.js';
import { type IpPacket, PROTOCOL } from './ip-packet.js';

/** Why something cannot be delivered; each has its type and code in both versions. */
export type Unreachable = 'network' | 'host' | 'port' | 'prohibited';

const ECHO = { v4: { request: 8, reply: 0 }, v6: { request: 128, reply: 129 } } as const;
/** Type 3 of RFC 792 and RFC 1812 §5.2.7.1; type 1 of RFC 4443 §3.1. */
const CODE_V4: Readonly<Record<Unreachable, number>> = { network: 0, host: 1, port: 3, prohibited: 13 };
const CODE_V6: Readonly<Record<Unreachable, number>> = { network: 0, host: 3, port: 4, prohibited: 1 };

/** How much of a packet an error quotes, bytes: header and more than 8 bytes, far below any link's limit. */
const QUOTED = 96;
/** Errors a second (RFC 4443 §2.4 f wants a limit). */
const MAX_ERRORS = 100;

export class Icmp {
  readonly #output: IpOutput;
  readonly #clock: Clock;
  #errors = 0;
  #second = 0;

  constructor(output: IpOutput, clock: Clock) {
    this.#output = output;
    this.#clock = clock;
  }

  /** Whether the checksum of a message is right; ICMPv6 includes the pseudo-header. */
  static isSound({ payload, source, destination, protocol, partial }: IpPacket): boolean {
    if (payload.length < 8) return false;
    const start =
      protocol === PROTOCOL.ICMPV6 ? pseudoHeader(source, destination, protocol, payload.length) : 0;
    return partial || finish(addWords(payload, 0, payload.length, start)) === 0;
  }

  isEchoRequest({ payload, source }: IpPacket): boolean {
    return payload[0] === ECHO[isV6(source) ? 'v6' : 'v4'].request && payload[1] === 0;
  }

  /** Answers a request to an address of ours with the same bytes. */
  echo({ payload, source, destination }: IpPacket): void {
    const area = this.#output.area(source);
    area.set(payload);
    area[0] = ECHO[isV6(source) ? 'v6' : 'v4'].reply;
    this.send(destination, source, payload.length);
  }

  /** Tells the guest that a packet of its could not be delivered. Errors and groups get no answer (RFC 1122 §3.2.2). */
  unreachable(packet: IpPacket, reason: Unreachable): void {
    const { source, destination, protocol, raw } = packet;
    const v6 = isV6(source);
    if (isMulticast(destination) || isMulticast(source) || source.every((byte) => byte === 0)) return;
    if (protocol === PROTOCOL.ICMP && !this.isEchoRequest(packet)) return;
    if (protocol === PROTOCOL.ICMPV6 && !this.isEchoRequest(packet)) return;
    if (!this.#mayTell()) return;
    const area = this.#output.area(source);
    const quoted = raw.subarray(0, QUOTED);
    area.fill(0, 0, 8);
    area[0] = v6 ? 1 : 3;
    area[1] = (v6 ? CODE_V6 : CODE_V4)[reason];
    area.set(quoted, 8);
    this.send(destination, source, 8 + quoted.length);
  }

  /** Sends the message in the output's area; its checksum is written here. */
  send(source: Address, destination: Address, length: number, hops = 64): boolean {
    const area = this.#output.area(destination);
    const protocol = isV6(destination) ? PROTOCOL.ICMPV6 : PROTOCOL.ICMP;
    area.fill(0, 2, 4);
    const start = isV6(destination) ? pseudoHeader(source, destination, protocol, length) : 0;
    const sum = finish(addWords(area, 0, length, start));
    area[2] = sum >>> 8;
    area[3] = sum & 0xff;
    return this.#output.send({ source, destination, protocol, length, hops });
  }

  #mayTell(): boolean {
    const second = Math.floor(this.#clock.now() / 1000);
    if (second !== this.#second) [this.#second, this.#errors] = [second, 0];
    this.#errors += 1;
    return this.#errors <= MAX_ERRORS;
  }
}
