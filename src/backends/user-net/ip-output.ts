/**
 * Packets on their way to the guest. A protocol writes its part where `area` says, so that nothing is copied twice; `send` puts
 * the headers in front, cuts what is larger than the link's packets, and finds the card.
 * Runs on: main.
 */
import type { VnetHeader } from '../../devices/net/backend.js';
import { type Address, isV6 } from './address.js';
import { ETHER_TYPE, ETHERNET_HEADER, type Mac, multicastMac } from './ethernet.js';
import { IPV4_HEADER, writeIpv4 } from './ipv4.js';
import { FRAGMENT_HEADER, IPV6_HEADER, writeFragment, writeIpv6 } from './ipv6.js';
import type { Link } from './link.js';
import type { Neighbours } from './neighbours.js';

/** The most an IP packet carries (its length has 16 bits). */
const MAX_PAYLOAD = 65_535;
const FRAGMENT_NEXT = 44;

export interface Outgoing {
  readonly source: Address;
  /** The guest. */
  readonly destination: Address;
  readonly protocol: number;
  /** Bytes written into the area. */
  readonly length: number;
  readonly hops?: number;
  /** What the guest's card is to do: then the packet may be larger than the link's. */
  readonly header?: VnetHeader | undefined;
  /** Where to, without asking; an answer goes to whom it asked. */
  readonly mac?: Mac | undefined;
}

export class IpOutput {
  readonly #link: Link;
  readonly #neighbours: Neighbours;
  readonly #frame = new Uint8Array(ETHERNET_HEADER + IPV6_HEADER + MAX_PAYLOAD);
  readonly #v4 = this.#frame.subarray(ETHERNET_HEADER + IPV4_HEADER);
  readonly #v6 = this.#frame.subarray(ETHERNET_HEADER + IPV6_HEADER);
  #nextId = 1;

  constructor(
    link: Link,
    neighbours: Neighbours,
    /** Largest packet of the link, bytes. */
    readonly mtu: number,
  ) {
    this.#link = link;
    this.#neighbours = neighbours;
  }

  /** Where to write what follows the IP header. One packet at a time: `send` ends its use. */
  area(guest: Address): Uint8Array {
    return isV6(guest) ? this.#v6 : this.#v4;
  }

  /** Bytes of an Ethernet and an IP header. */
  headers(guest: Address): number {
    return ETHERNET_HEADER + (isV6(guest) ? IPV6_HEADER : IPV4_HEADER);
  }

  /** @returns false when the guest had no room: then it was not sent */
  send(packet: Outgoing): boolean {
    const { destination, length, header } = packet;
    const mac = packet.mac ?? this.#macOf(destination);
    if (!mac) return this.#sendLater(packet);
    const ip = isV6(destination) ? IPV6_HEADER : IPV4_HEADER;
    if (ip + length > this.mtu && !header) return this.#sendFragments(packet, mac);
    if (isV6(destination)) writeIpv6(this.#frame.subarray(ETHERNET_HEADER), packet);
    else writeIpv4(this.#frame.subarray(ETHERNET_HEADER), packet);
    const type = isV6(destination) ? ETHER_TYPE.IPV6 : ETHER_TYPE.IPV4;
    return this.#link.send(this.#frame.subarray(0, ETHERNET_HEADER + ip + length), mac, type, header);
  }

  #macOf(destination: Address): Mac | undefined {
    if (isV6(destination) && destination[0] === 0xff) return multicastMac(destination);
    return this.#neighbours.find(destination);
  }

  #sendLater(packet: Outgoing): boolean {
    const copy = this.area(packet.destination).slice(0, packet.length);
    this.#neighbours.whenKnown(packet.destination, (mac) => {
      this.area(packet.destination).set(copy);
      this.send({ ...packet, mac });
    });
    return true;
  }

  #sendFragments({ source, destination, protocol, length }: Outgoing, mac: Mac): boolean {
    const payload = this.area(destination).slice(0, length);
    const headers = isV6(destination) ? IPV6_HEADER + FRAGMENT_HEADER : IPV4_HEADER;
    const most = (this.mtu - headers) & ~7;
    const id = (this.#nextId += 1);
    for (let offset = 0; offset < length; offset += most) {
      const piece = payload.subarray(offset, offset + most);
      const more = offset + most < length;
      const frame = this.#frame.subarray(0, ETHERNET_HEADER + headers + piece.length);
      const packet = frame.subarray(ETHERNET_HEADER);
      if (isV6(destination)) {
        const header = { source, destination, protocol: FRAGMENT_NEXT };
        writeIpv6(packet, { ...header, length: FRAGMENT_HEADER + piece.length });
        writeFragment(packet.subarray(IPV6_HEADER), { protocol, offset, more, id });
      } else {
        writeIpv4(packet, {
          source,
          destination,
          protocol,
          length: piece.length,
          id: id & 0xffff,
          offset,
          more,
        });
      }
      packet.set(piece, headers);
      const type = isV6(destination) ? ETHER_TYPE.IPV6 : ETHER_TYPE.IPV4;
      if (!this.#link.send(frame, mac, type)) return false;
    }
    return true;
  }
}
